"""The languages Crucible runs, each a small declaration."""

from executors.languages.language import Language
from executors.languages.registry import LANGUAGES

__all__ = ["LANGUAGES", "Language"]
