"""Raw rows of every known format become canonical ones."""
