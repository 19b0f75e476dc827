"""Base models, tokenizers, adapters: finding, checking, loading, saving."""
