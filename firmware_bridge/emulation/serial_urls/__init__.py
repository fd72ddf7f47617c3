"""URL handlers for pyserial, which finds them by module name: `protocol_sim` opens `sim://`."""
