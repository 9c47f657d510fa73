"""What is done once before anything is decided."""
