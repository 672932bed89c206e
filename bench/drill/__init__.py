"""A migration practised on a real stack: there step by step, and back by itself when executor-3 fails."""
