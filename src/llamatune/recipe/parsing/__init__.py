"""YAML text and overrides become values with places, and problems become words."""
