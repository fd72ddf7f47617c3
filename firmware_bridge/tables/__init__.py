"""Tables of text as people write them: encoding, separators, column names, units, times and the sampling rate."""
