"""Evaluation: sign-off, window metrics, intervals over subjects, leakage checks, latency, held-out subjects."""
