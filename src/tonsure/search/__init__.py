"""The search for a batch (private): plan, ranking, bounds, shards, candidates."""
