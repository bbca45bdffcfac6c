"""Several methods on the same predictions, measured alike."""
