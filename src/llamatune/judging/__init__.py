"""Replies become numbers: reward models, functions and the world's oracle share one protocol."""
