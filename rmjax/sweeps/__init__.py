"""Sweeps: from a page of settings to runs, statistics and a table."""
