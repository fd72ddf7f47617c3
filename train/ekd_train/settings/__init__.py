"""Settings of training: fields with a sentence and a range, and the sections of a configuration made of them."""
