"""How much of a benchmark's rows a model has seen in training (paper, appendix A.6)."""
