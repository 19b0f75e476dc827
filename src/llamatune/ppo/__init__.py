"""Proximal policy optimisation (paper, section 3.2.3): `PPOTrainer` and `PPOConfig`."""
