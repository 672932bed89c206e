"""The migration: its stages, the gates before each, the way back, and the books of all that was decided."""
