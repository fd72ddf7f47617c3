"""Emulated devices in real time: a player, line faults, pseudo-terminals, `sim://` ports."""
