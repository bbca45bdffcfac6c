"""Predictions at the door: arrays, checks, the reader of blocks, the store."""
