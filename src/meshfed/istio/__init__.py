"""istio."""
