"""The wire contract between a skin-conductance sensor and its host."""
