"""Signatures of what is sent to others: they show who sent it, when, and that nothing was changed on the way.

A signature is ``t=<seconds since 1970>,v1=<hex>``; the hex digits are the HMAC-SHA256, under a secret that
both sides know, of the seconds as written, a full stop, and the body.
"""

import hmac
import re

TOLERANCE_S = 300
"""How far a signature's time may be from the receiver's clock unless told otherwise."""

_FORM = re.compile(r"t=(0|[1-9][0-9]{0,15}),v1=([0-9a-f]{64})", re.ASCII)


def sign(secret: bytes, body: bytes, now: float) -> str:
    """The signature of ``body`` at ``now``, in seconds since 1970, of which whole ones are kept."""
    seconds = int(now)
    return f"t={seconds},v1={_digest(secret, str(seconds), body)}"


def verify_signature(
    secret: bytes, signature: str, body: bytes, now: float, tolerance_s: float = TOLERANCE_S
) -> bool:
    """Whether someone who knows ``secret`` signed exactly ``body`` within ``tolerance_s`` of ``now``.

    For receivers: an old message that is sent once more is refused by its time. Never raises, whatever
    the signature is, and takes as long for a wrong one as for a right one.
    """
    form = _FORM.fullmatch(signature)
    if form is None or not secret or abs(now - int(form[1])) > tolerance_s:
        return False
    return hmac.compare_digest(_digest(secret, form[1], body), form[2])


def _digest(secret: bytes, seconds: str, body: bytes) -> str:
    return hmac.new(secret, f"{seconds}.".encode() + body, "sha256").hexdigest()
