"""What the engine is measured against, each written as its advocates would write it."""
