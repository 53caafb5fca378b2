"""Reach into a user's model while it runs, and give it back as it was."""
