"""The signal chain of training and device: resampling, filter, normalization, windows, signal quality."""
