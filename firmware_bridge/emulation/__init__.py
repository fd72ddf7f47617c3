"""Emulated devices in real time: player, line faults, pseudo-terminals and `sim://` ports."""
