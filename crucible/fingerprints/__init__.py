"""Mismatches known by their cause."""

from crucible.fingerprints.causes import CauseTally, causes
from crucible.fingerprints.fingerprint import Fingerprint, fingerprint
from crucible.fingerprints.streams import Change
from crucible.fingerprints.unseen import unseen

__all__ = ["CauseTally", "Change", "Fingerprint", "causes", "fingerprint", "unseen"]
