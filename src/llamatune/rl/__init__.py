"""PPO in pieces: pure functions of tensors, each of which can be checked by hand."""
