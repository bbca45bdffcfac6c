"""Active learning in rounds: pool, labels, rounds and metrics."""
