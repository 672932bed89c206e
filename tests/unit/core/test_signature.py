"""Who signed a message, and that nothing of it was changed: nothing else passes."""

import hashlib
import hmac

from hypothesis import assume, given
from hypothesis import strategies as st

from crucible.signature import TOLERANCE_S, sign, verify_signature

SECRETS = st.binary(min_size=1, max_size=80)
BODIES = st.binary(max_size=200)
TIMES = st.integers(0, 4_000_000_000)


def test_the_signature_is_what_the_document_says() -> None:
    digits = hmac.new(b"secret", b"1700000000." + b'{"a": 1}', hashlib.sha256).hexdigest()
    assert sign(b"secret", b'{"a": 1}', 1_700_000_000.9) == f"t=1700000000,v1={digits}"


@given(SECRETS, BODIES, TIMES, st.floats(-TOLERANCE_S + 1, TOLERANCE_S - 1))
def test_what_was_signed_is_accepted_as_long_as_it_is_fresh(
    secret: bytes, body: bytes, at: int, later: float
) -> None:
    assert verify_signature(secret, sign(secret, body, at), body, at + later)


@given(SECRETS, BODIES, BODIES, TIMES)
def test_another_body_is_refused(secret: bytes, body: bytes, other: bytes, at: int) -> None:
    assume(other != body)
    assert not verify_signature(secret, sign(secret, body, at), other, at)


@given(SECRETS, SECRETS, BODIES, TIMES)
def test_another_secret_is_refused(secret: bytes, other: bytes, body: bytes, at: int) -> None:
    # HMAC fills short keys up with zeros: those differ in nothing.
    assume(other.ljust(64, b"\0") != secret.ljust(64, b"\0"))
    assume(max(len(secret), len(other)) <= 64)
    assert not verify_signature(other, sign(secret, body, at), body, at)


@given(SECRETS, BODIES, TIMES, st.integers(1, TOLERANCE_S))
def test_another_time_is_refused_although_it_is_fresh(secret: bytes, body: bytes, at: int, by: int) -> None:
    digits = sign(secret, body, at).partition(",")[2]
    assert not verify_signature(secret, f"t={at + by},{digits}", body, at)


@given(SECRETS, BODIES, TIMES, st.integers(TOLERANCE_S + 1, 10**9))
def test_an_old_message_sent_again_is_refused_and_one_of_the_future_too(
    secret: bytes, body: bytes, at: int, by: int
) -> None:
    signature = sign(secret, body, at)
    assert not verify_signature(secret, signature, body, at + by)
    assert not verify_signature(secret, signature, body, at - by)
    assert verify_signature(secret, signature, body, at + by, tolerance_s=by)


@given(SECRETS, BODIES, TIMES, st.data())
def test_any_change_of_a_character_of_the_signature_is_refused(
    secret: bytes, body: bytes, at: int, data: st.DataObject
) -> None:
    signature = sign(secret, body, at)
    place = data.draw(st.integers(0, len(signature) - 1))
    character = data.draw(st.characters(codec="utf-8").filter(lambda drawn: drawn != signature[place]))
    changed = signature[:place] + character + signature[place + 1 :]
    assert not verify_signature(secret, changed, body, at)


@given(SECRETS, BODIES, TIMES, st.text(max_size=120))
def test_nonsense_is_refused_and_raises_nothing(secret: bytes, body: bytes, at: int, text: str) -> None:
    assert not verify_signature(secret, text, body, at)


def test_without_a_secret_nothing_is_accepted() -> None:
    assert not verify_signature(b"", sign(b"", b"body", 1), b"body", 1)
