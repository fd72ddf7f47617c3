"""The `ekd-edge` and `ekd-recording` commands: one file a subcommand, and what they share."""
