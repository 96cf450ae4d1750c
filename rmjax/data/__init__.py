"""Human judgements -> device batches."""
