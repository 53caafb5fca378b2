"""Run shifted forwards through a model's own modules, and say what every method has in common."""
