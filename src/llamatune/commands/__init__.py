"""What is not a stage: one file for each command of the command line. Each works from Python, too."""
