"""PPO (paper section 3.2.3): the trainer, what it is made of, and pure functions that can be checked by hand."""
