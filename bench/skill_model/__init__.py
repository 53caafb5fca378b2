"""A small reader trained on the tasks' own training text, so that there are skills to probe."""
