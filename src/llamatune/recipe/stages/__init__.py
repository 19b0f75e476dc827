"""The recipe of each stage, one file a stage."""
