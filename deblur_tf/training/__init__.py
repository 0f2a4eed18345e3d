"""Training: objective, optimiser, weight averages, checkpoints, and the loop."""
