"""Two replies to a prompt -> which is better: the comparison, and who may make it."""
