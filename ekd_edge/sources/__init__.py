"""Live sample blocks: an open sensor, reconnection after unplugging, correction of the sample rate."""
