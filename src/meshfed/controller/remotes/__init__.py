"""The remotes that are listened to, and what is told to those who subscribe."""
