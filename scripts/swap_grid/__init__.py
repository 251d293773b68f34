"""The parts of scripts/bench_swap.py: swaps by several methods from shared pre-trained GANs, as a grid of rows."""
