"""Turn prompts and targets as users hold them into checked token ids."""
