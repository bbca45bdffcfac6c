"""The search for a batch (private): memory plan, ranking, bounds, shards, backends, and the space of an optimizer."""
