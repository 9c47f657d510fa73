"""The decisions, pure: what is exported and to whom, what is imported and as what, and who yields to whom."""
