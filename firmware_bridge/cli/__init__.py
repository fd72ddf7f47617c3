"""The `ekd-firmware` command: one file per subcommand, and the framework that the commands of all packages share."""
