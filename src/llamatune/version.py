"""The version, where every floor of the house may read it."""

__version__ = "0.2.0"
