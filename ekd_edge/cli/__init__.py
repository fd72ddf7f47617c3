"""The `ekd-edge` and `ekd-recording` commands: one file for each subcommand, and shared code."""
