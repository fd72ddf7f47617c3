"""Fold, convert, quantize, audit and sign off the student."""
