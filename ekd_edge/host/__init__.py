"""The machine that `ekd-edge` runs on: what it is, whether all is well, how fast it is, and how things get there."""
