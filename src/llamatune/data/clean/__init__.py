"""Which documents of plain text are left out: rules, languages, near duplicates."""
