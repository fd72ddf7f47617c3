"""The `ekd-firmware` command: one file a subcommand, and its argument types."""
