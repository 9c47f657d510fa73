"""Meshfed: Istio mesh federation, one controller per mesh."""

__version__ = "0.1.0"
