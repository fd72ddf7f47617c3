"""The demo of `make demo`, and the demo model that ships with ekd."""
