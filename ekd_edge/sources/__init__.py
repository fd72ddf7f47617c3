"""Where live sample blocks come from: an open sensor, its reconnection, the correction of its sample rate."""
