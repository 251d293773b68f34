"""`rcas memory`: the tasks of a lineage, listed and brought out one by one, or all by one generator."""
