"""`make bench`: the federation measured beside its floor, on API servers and controllers that it starts itself."""
