"""Models: token ids -> hidden states, logits and scores; loading and export of checkpoints."""
