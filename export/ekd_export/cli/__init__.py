"""The `ekd-export` and `ekd-eval` commands: one module a subcommand."""
