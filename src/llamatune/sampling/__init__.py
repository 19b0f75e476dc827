"""Prompts become completions, each with random numbers of its own."""
