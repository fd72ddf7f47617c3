"""Train the EEG + GSR teacher and distil the GSR-only student."""
