"""The `ekd-export` and `ekd-eval` commands: one module for each subcommand."""
