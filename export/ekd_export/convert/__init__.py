"""Conversion of a trained student: folding, TFLite, ONNX, C source."""
