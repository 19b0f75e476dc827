"""Base models, tokenizers, adapters: finding, checking, loading, sampling, saving, merging."""
