"""Where predictions go: one module a place."""
