"""Mismatches known by their cause."""

from crucible.fingerprints.causes import CauseTally, causes, unseen
from crucible.fingerprints.fingerprint import Fingerprint, fingerprint
from crucible.fingerprints.streams import Change

__all__ = ["CauseTally", "Change", "Fingerprint", "causes", "fingerprint", "unseen"]
