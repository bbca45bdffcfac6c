"""Experiments: settings, runs, records and archives."""
