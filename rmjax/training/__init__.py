"""Batches + model -> parameters."""
