"""Handlers of URL schemes for pyserial: module protocol_NAME handles NAME://."""
