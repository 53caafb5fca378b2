"""Run what a command asks for, with the model loaded."""
