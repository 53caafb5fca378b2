"""Hold each method against plain forwards of the model itself, and take the best that agrees."""
