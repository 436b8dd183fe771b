"""Training: one loop, and the stages that pass it a loss."""
