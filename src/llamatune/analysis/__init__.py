"""What data holds, as the paper looks at its own (section 4.1): lengths, languages, pronouns, duplicates and more."""
