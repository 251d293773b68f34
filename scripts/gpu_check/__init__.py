"""What scripts/gpu is made of."""
