"""The one preprocessing chain of training and device: resampling, filter, normalization, windows, signal quality."""
