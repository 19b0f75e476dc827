"""Replies of several models -> figures with intervals: what is true of them, and what judges say."""
