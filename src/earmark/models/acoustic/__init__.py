"""Detectors of machines by sound: networks on filter banks and on an encoder's tokens, one sigmoid per device."""
