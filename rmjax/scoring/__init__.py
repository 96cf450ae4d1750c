"""Parameters that can score."""
