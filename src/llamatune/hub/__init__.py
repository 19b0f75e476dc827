"""Take it away: the model card of a run, push and pull, and what other programs need to serve the result."""
