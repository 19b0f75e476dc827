"""What the files of a model or an adapter say, checked before anything reads them. No torch."""
