"""Serial ports: finding and opening them, reading a device, and measuring its clock and its losses."""
