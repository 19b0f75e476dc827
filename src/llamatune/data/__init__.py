"""Rows: read, recognised, mixed, encoded once, kept. From a recipe's `data` block to memory-mapped training sets."""
