"""Taking over from the reference, and taking everything away."""
