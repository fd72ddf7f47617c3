"""From datasets to labeled windows, split by subject."""
