"""The languages Crucible runs, each a small declaration."""

from executors.languages.registry import LANGUAGES, Language

__all__ = ["LANGUAGES", "Language"]
