"""Quantization: recipes, calibration ranges, quantization-aware training, audit, errors per layer, TFLite Micro."""
