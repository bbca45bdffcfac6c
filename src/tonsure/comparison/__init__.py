"""Comparison: several methods on the same predictions, with the same measures of their batches."""
