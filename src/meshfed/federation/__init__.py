"""The decisions, pure: what is exported and to whom, what is imported and as what, what is remembered."""
