"""pyserial URL handlers, found by pyserial by module name: `protocol_sim` opens `sim://`."""
