"""Training: losses, objectives, optimizer, step, loop, run directory."""
