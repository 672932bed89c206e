"""What a sender of the legacy queue packs, a worker reads; and what others have packed with less in it."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible.errors import InputError
from crucible.models import Evaluation, Limits
from crucible.settings import LegacySettings
from tasks.dispatch import Dispatch
from tasks.legacy_leg.queue import decode, encode

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


@given(code=TEXT.filter(bool), stdin=TEXT, wall_s=st.integers(1, 60))
def test_a_worker_reads_all_that_was_packed(code: str, stdin: str, wall_s: int) -> None:
    settings, limits = LegacySettings(), Limits(wall_s=wall_s)
    program = Evaluation(id="one", language="python", code=code, stdin=stdin, limits=limits)
    payload = encode(Dispatch("one.0", program, "replies"), settings)
    run = decode(payload, settings)
    assert (run.run_id, run.language, run.code, run.stdin) == ("one.0", "python", code, stdin)
    assert (run.limits, run.reply_to, run.payload) == (limits.model_dump(), "replies", payload)


@pytest.mark.parametrize("empty", [{}, {"stdin": None, "limits": None}])
def test_stdin_and_limits_need_not_be_there(empty: dict[str, None]) -> None:
    settings = LegacySettings()
    packed = {
        settings.id_field: "one.0",
        settings.language_field: "bash",
        settings.code_field: "true",
        settings.reply_field: "replies",
    }
    names = {"stdin": settings.stdin_field, "limits": settings.limits_field}
    run = decode(orjson.dumps(packed | {names[each]: None for each in empty}), settings)
    assert (run.stdin, run.limits) == ("", {})


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"id": 1}'])
def test_what_is_no_payload_is_the_senders_fault(payload: bytes) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        decode(payload, LegacySettings())
