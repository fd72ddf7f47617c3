"""Installing on a Raspberry Pi without a network: the bundle, its wheels, its installer and the systemd unit."""
