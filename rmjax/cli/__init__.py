"""Command lines of the scripts in `experiments/`: flags, help, errors and process settings."""
