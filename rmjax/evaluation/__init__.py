"""Evaluation of scores on judgements: metrics with their intervals, calibration, comparisons, benchmarks."""
