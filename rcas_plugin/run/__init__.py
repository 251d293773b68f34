"""One swap while it runs: the order of a method's calls, the optimisers, and what a run that goes on needs beside weights."""
