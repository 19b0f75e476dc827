"""Files, data cards and hub data sets become raw rows."""
