"""Scoring: checkpoints with their contract, reward models, ensembles, gate, Hugging Face folders."""
