"""Command lines of the scripts in `experiments/`: flags, help, errors, and the process that they run in."""
