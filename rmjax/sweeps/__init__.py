"""Sweeps: plan, execution, statistics and table of many runs."""
