"""The `ekd-firmware` command: one file per subcommand, and what the commands of all packages share."""
