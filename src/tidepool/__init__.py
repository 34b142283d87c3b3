"""Tidepool: isolated sandboxes for untrusted code on this host."""

__version__ = "0.1.0"
