"""Benchmarks with shots, by the tasks of lm-evaluation-harness, in the chat format that a model was trained in."""
