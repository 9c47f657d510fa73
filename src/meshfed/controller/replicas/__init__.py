"""The replicas of one controller: what each says of itself, and what the leader makes of it."""
