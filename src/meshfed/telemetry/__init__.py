"""Metrics and logs that every room above may use."""
