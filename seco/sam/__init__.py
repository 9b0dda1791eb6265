"""Promptable segmenters: the protocol, the back ends, the bundled model."""
