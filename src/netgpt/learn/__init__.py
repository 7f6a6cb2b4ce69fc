"""One machine's optimiser loop: pretraining, checkpoints, curves. Knows no network."""
