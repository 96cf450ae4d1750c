"""Token ids -> scores."""
