"""Settings of training: fields with a help sentence and a range, and the sections of a configuration."""
