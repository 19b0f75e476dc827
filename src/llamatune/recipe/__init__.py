"""What the user wrote: closed, frozen recipes and data cards, read from strict YAML. Never imports torch."""
