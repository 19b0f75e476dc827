"""What is no stage: one file a command of the command line. Each works from Python too."""
