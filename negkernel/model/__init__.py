"""Load models, tell what they are for, and how much room and which positions they leave."""
