"""Mismatches known by their cause."""

from crucible.fingerprints.causes import Cause, causes
from crucible.fingerprints.fingerprint import Fingerprint, fingerprint
from crucible.fingerprints.unseen import unseen

__all__ = ["Cause", "Fingerprint", "causes", "fingerprint", "unseen"]
