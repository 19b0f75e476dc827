"""Canonical rows become token ids and labels."""
