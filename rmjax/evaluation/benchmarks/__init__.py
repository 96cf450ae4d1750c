"""Benchmarks of others: RewardBench, RewardBench 2, and probes of robustness."""
