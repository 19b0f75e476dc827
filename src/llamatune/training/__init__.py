"""What every stage's trainer shares: global batches without waste, guards, checkpoints, progress."""
