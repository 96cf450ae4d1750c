"""Data: sources of human judgements, tokenization, packed batches."""
