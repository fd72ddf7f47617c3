"""The cache of converted windows: keys, files, locks, listing."""
