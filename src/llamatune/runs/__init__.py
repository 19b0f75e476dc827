"""What a run leaves on the disk, and what it shows while it works."""
