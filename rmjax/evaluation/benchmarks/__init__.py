"""External benchmarks: RewardBench, RewardBench 2, and robustness probes from the literature."""
