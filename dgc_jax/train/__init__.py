"""Training: state, step, loop, monitor, checkpoints."""
