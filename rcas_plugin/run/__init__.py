"""One swap while it runs: the order of a method's calls, the optimisers, and the random state for a run that goes on."""
