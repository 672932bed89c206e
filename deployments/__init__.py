"""How Crucible is run: the local stack, and what other deployments need."""
