"""The pipeline from sample blocks to predictions, smoothing with hysteresis, and the wearer's baseline."""
