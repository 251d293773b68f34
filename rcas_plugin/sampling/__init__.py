"""Images out of a run: its generator opened, sampled into class folders, and exported to other programs."""
