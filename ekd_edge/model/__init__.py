"""The model file: container, manifest, signature, search, and the interpreter that runs it."""
