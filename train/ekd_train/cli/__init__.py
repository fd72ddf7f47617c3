"""The `ekd-train` command and its subcommands."""
