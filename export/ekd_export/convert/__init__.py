"""Conversion of a trained student: folding of batch norms, TFLite, ONNX, C source."""
