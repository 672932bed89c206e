"""Crucible beside what it is measured against. Part of the source tree; not installed with it."""
