"""One module a device format: bytes in, raw blocks out."""
