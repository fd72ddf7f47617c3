"""From sample blocks to predictions: the per-sensor pipeline, smoothing with hysteresis, a wearer's baseline."""
