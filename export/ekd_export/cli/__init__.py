"""The `ekd-export` and `ekd-eval` commands."""
