"""Tests of the handshakes with remotes' gateways."""
