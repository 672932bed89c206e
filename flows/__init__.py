"""The story of a migration's evidence, told top to bottom: evaluate, confirm, sweep."""
