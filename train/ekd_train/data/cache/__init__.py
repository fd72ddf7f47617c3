"""The cache of converted windows: its keys, files, locks and listing."""
