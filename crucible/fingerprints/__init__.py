"""Mismatches known by their cause."""

from crucible.fingerprints.causes import causes, causes_of_pages, unseen
from crucible.fingerprints.fingerprint import Fingerprint, fingerprint
from crucible.fingerprints.streams import Change

__all__ = ["Change", "Fingerprint", "causes", "causes_of_pages", "fingerprint", "unseen"]
