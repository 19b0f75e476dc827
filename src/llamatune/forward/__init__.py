"""Rows become one forward pass, and what is read off it. Nothing here knows where rows come from or what is learnt."""
