"""The `ekd-recording` command: one file a subcommand."""
