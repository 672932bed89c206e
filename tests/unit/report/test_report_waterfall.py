"""The waterfall of a trace: its geometry, clocks that differ, and text that nobody trusts."""

from crucible.report.waterfall import LEFT, MOST_ROWS, WIDTH, waterfall, waterfall_html
from crucible.telemetry.otlp import SpanEvent, SpanLink, SpanRecord

BEGIN_US = 1_700_000_000_000_000
MS = 1000


def made(name: str, at_ms: float, took_ms: float, parent: str | None = None, **more: object) -> SpanRecord:
    """A span known by its name; ``parent`` is the name of another."""
    values = {
        "trace_id": "a" * 32,
        "span_id": id_of(name),
        "parent_id": parent and id_of(parent),
        "name": name,
        "service": "api",
        "leg": None,
        "started_us": BEGIN_US + int(at_ms * MS),
        "duration_us": int(took_ms * MS),
    }
    return SpanRecord(**(values | more))


def id_of(name: str) -> str:
    """Sixteen hexadecimal digits."""
    return name.encode().hex().ljust(16, "0")[:16]


BOTH_LEGS = [
    made("submit", 0, 10),
    made("evaluate", 20, 80, "submit"),
    made("legacy leg", 20, 50, "evaluate", leg="legacy"),
    made("celery leg", 20, 70, "evaluate", leg="celery"),
    made("claim", 30, 2, "legacy leg", leg="legacy", service="legacy-worker-1"),
    made("execute", 32, 20, "celery leg", leg="celery", service="celery-worker"),
]


def test_both_legs_are_laid_out_on_one_axis() -> None:
    found = waterfall(BOTH_LEGS)
    assert [(group.title, [row.name for row in group.rows]) for group in found.groups] == [
        ("Both legs", ["submit", "evaluate"]),
        ("Legacy leg", ["legacy leg", "claim"]),
        ("Celery leg", ["celery leg", "execute"]),
    ]
    rows = {row.name: row for group in found.groups for row in group.rows}
    assert found.total_s == 0.1
    assert (rows["submit"].x, rows["submit"].at_s) == (LEFT, 0.0)
    middle = rows["claim"].x
    assert LEFT < middle < WIDTH
    assert rows["legacy leg"].x == rows["celery leg"].x == rows["evaluate"].x
    assert rows["celery leg"].width > rows["legacy leg"].width > rows["claim"].width
    assert [row.depth for row in rows.values()] == [0, 1, 2, 3, 2, 3]
    assert found.shifted == ()


def test_steps_stand_side_by_side() -> None:
    steps = {step.name: step.seconds for step in waterfall(BOTH_LEGS).steps}
    assert steps == {
        "claim": {"legacy": 0.002, "celery": None},
        "execute": {"legacy": None, "celery": 0.02},
    }


def test_a_process_whose_clock_is_behind_is_moved_as_a_whole_and_marked() -> None:
    behind = -5_000
    spans = [
        *BOTH_LEGS[:4],
        made("claim", 30 + behind, 2, "legacy leg", leg="legacy", service="w"),
        made("execute", 40 + behind, 20, "legacy leg", leg="legacy", service="w"),
        made("request", 45, 10, "execute", leg="legacy", service="executor-1"),
    ]
    found = waterfall(spans)
    rows = {row.name: row for group in found.groups for row in group.rows}
    assert found.shifted == ("w",)
    assert rows["claim"].shifted_s == rows["execute"].shifted_s > 4.9
    assert rows["claim"].at_s == rows["legacy leg"].at_s
    assert round(rows["execute"].at_s - rows["claim"].at_s, 6) == 0.01
    assert rows["request"].shifted_s == 0
    assert found.total_s < 1
    assert "⇥ claim" in waterfall_html(spans)


def test_times_that_were_cut_to_milliseconds_move_nothing() -> None:
    wait = made("queue wait", 19.2, 5, "legacy leg", leg="legacy", service="w")
    assert waterfall([*BOTH_LEGS[:4], wait]).shifted == ()


def test_faults_retries_and_links_are_told_in_words() -> None:
    odd = made(
        "execute",
        32,
        20,
        "legacy leg",
        leg="legacy",
        status="executor-1 answered 503",
        events=(SpanEvent(name="tried again", at_us=BEGIN_US + 40 * MS, attributes={"reason": "503"}),),
        links=(SpanLink(trace_id="a" * 32, span_id="b" * 16, why="claimed again"),),
    )
    page = waterfall_html([*BOTH_LEGS[:4], odd])
    assert "failed: executor-1 answered 503" in page
    assert "tried again: 503" in page
    assert "claimed again (span bbbbbbbbbbbbbbbb)" in page
    assert page.count('class="event"') == 1


def test_nothing_in_a_span_can_be_markup_or_control_the_reader() -> None:
    hostile = "<script>alert(1)</script>\x1b[2J\u202e\"'"
    span = made(
        hostile,
        0,
        1,
        span_id="c" * 16,
        service=hostile,
        leg=None,
        status=hostile,
        attributes={"outcome": hostile},
        events=(SpanEvent(name=hostile, at_us=BEGIN_US, attributes={"reason": hostile}),),
        links=(SpanLink(trace_id="a" * 32, span_id="b" * 16, why=hostile),),
    )
    page = waterfall_html([span])
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_spans_without_their_parents_and_in_circles_are_borne() -> None:
    lost = made("lost", 5, 1, "nobody")
    circle = [made("one", 0, 1, "two"), made("two", 0, 1, "one")]
    found = waterfall([lost, *circle])
    assert [row.name for group in found.groups for row in group.rows] == ["lost"]
    assert waterfall([]).groups == ()
    assert "The same as a table" in waterfall_html([])


def test_of_very_many_spans_the_first_are_drawn_and_the_rest_are_counted() -> None:
    spans = [made(f"{number:08d}", number, 1) for number in range(MOST_ROWS + 50)]
    assert waterfall(spans).left_out == 50
    assert "50 more spans not shown" in waterfall_html(spans)


def test_the_table_has_every_figure_of_the_drawing() -> None:
    page = waterfall_html(BOTH_LEGS)
    table = page.partition('class="spans"')[2]
    for name in ("submit", "evaluate", "legacy leg", "celery leg", "claim", "execute"):
        assert f'<th scope="row">{name}</th>' in table
    assert "50 ms" in table
