"""The sign-off: window metrics, intervals over subjects, leakage checks, latency, evaluation of files."""
