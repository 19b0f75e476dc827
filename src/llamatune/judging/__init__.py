"""Replies become numbers: reward models, functions and the world's oracle, behind one protocol."""
