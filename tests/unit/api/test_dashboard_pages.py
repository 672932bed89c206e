"""Pages of the dashboard: nothing that a program printed or an author wrote is more than text there."""

import re

import pytest

from crucible.ids import new_evaluation_ids
from crucible.models import Classification, Comparison, Difference, Evaluation, Field
from crucible.store import Submission
from tests.support.api import KEY, Api
from tests.support.comparisons import seen
from tests.unit.api.test_dashboard_session import OURS, sign_in

HOSTILE = '<script>alert("x")</script>\x1b]0;title\x07\x00\u202e\ufeff<img src=x onerror=alert(1)>'
ALLOWED_TAGS = re.compile(
    r"<(script|style|img|iframe|object|embed|base|form|meta|link)\b[^>]*>", re.IGNORECASE
)


@pytest.fixture
async def hostile(api: Api) -> str:
    """The id of a mismatch in which everything that can be hostile is."""
    (evaluation_id,) = new_evaluation_ids(1)
    name = HOSTILE.replace("\x00", "")
    evaluation = Evaluation(
        id=name, language="python", code=f"print({name!r})", stdin=name, tags=(name[:100],)
    )
    await api.store.submit([Submission(evaluation_id, evaluation, is_traffic=True)])
    comparison = Comparison(
        evaluation_id=evaluation_id,
        name=name,
        language="python",
        classification=Classification.MISMATCH,
        differences=(Difference(field=Field.STDOUT, legacy="", celery=""),),
        legacy=seen(HOSTILE, HOSTILE),
        celery=seen(HOSTILE + "2", HOSTILE),
        missed_expectations=(HOSTILE,),
        reasons={"celery": HOSTILE},
        cause="c0ffee",
    )
    await api.store.settle([comparison])
    return evaluation_id


@pytest.mark.parametrize(
    "page",
    [
        "/dashboard/",
        "/dashboard/evaluations",
        "/dashboard/evaluations/{}",
        "/dashboard/causes",
        "/dashboard/rollout",
    ],
)
async def test_what_others_wrote_is_only_ever_text(api: Api, hostile: str, page: str) -> None:
    await sign_in(api)
    answer = await api.stranger.get(page.format(hostile))
    assert answer.status_code == 200
    for tag in ALLOWED_TAGS.finditer(answer.text):
        assert "alert" not in tag[0]
        assert "onerror" not in tag[0]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", answer.text)
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    assert "style=" not in answer.text, "which the page's own policy would refuse"


async def test_an_evaluation_is_shown_with_its_diff_and_program(api: Api, hostile: str) -> None:
    await sign_in(api)
    page = (await api.stranger.get(f"/dashboard/evaluations/{hostile}")).text
    for text in ("stdout on legacy", "stdout on celery", "c0ffee", "Program", "Trace"):
        assert text in page, text


async def test_a_form_submits_and_leads_to_the_evaluation(api: Api) -> None:
    await sign_in(api)
    form = {
        "name": "mine",
        "language": "python",
        "code": "print(1)\r\nprint(2)",
        "priority": "7",
        "tags": "a, b,",
    }
    answer = await api.stranger.post("/dashboard/evaluations", data=form, headers=OURS)
    assert answer.status_code == 303
    ((_, evaluation),) = await api.store.load([answer.headers["location"].rpartition("/")[2]])
    assert (evaluation.id, evaluation.code, evaluation.priority) == ("mine", "print(1)\nprint(2)", 7)
    assert evaluation.tags == ("a", "b")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"language": "cobol", "code": "x"}, "cobol"),
        ({"language": "python", "code": "x", "priority": "12"}, "priority"),
        ({"language": "python", "code": "x", "priority": "high"}, "priority"),
    ],
)
async def test_what_does_not_fit_comes_back_with_what_was_typed(
    api: Api, form: dict[str, str], said: str
) -> None:
    await sign_in(api)
    answer = await api.stranger.post("/dashboard/evaluations", data={**form, "stdin": "typed"}, headers=OURS)
    assert answer.status_code == 422
    assert said in answer.text
    assert ">typed</textarea>" in answer.text
    assert (await api.client.get("/evaluations")).json()["items"] == []


async def test_an_operator_holds_lets_go_and_rolls_back(api: Api) -> None:
    await sign_in(api)

    async def press(action: str) -> int:
        version = str((await api.store.rollout.state()).version)
        form = {"action": action, "version": version, "reason": "because"}
        return (await api.stranger.post("/dashboard/rollout", data=form, headers=OURS)).status_code

    assert await press("hold") == 303
    assert (await api.store.rollout.state()).held
    assert await press("advance") == 409
    assert await press("release") == 303
    assert await press("rollback") == 303
    state = await api.store.rollout.state()
    assert (state.stage, state.held) == ("legacy", False)
    assert await press("explode") == 422
    newest = (await api.store.rollout.history(1))[0]
    assert (newest.actor, newest.reason) == ("stack", "because")


async def test_a_decision_on_an_old_page_changes_nothing_but_the_way_back_is_always_open(api: Api) -> None:
    await sign_in(api)
    await api.store.rollout.set("somebody", "else", held=True)
    for action, status in (("release", 409), ("rollback", 303)):
        form = {"action": action, "version": "1", "reason": "r"}
        answer = await api.stranger.post("/dashboard/rollout", data=form, headers=OURS)
        assert answer.status_code == status, action
    assert (await api.store.rollout.state()).stage == "legacy"


@pytest.mark.parametrize("query", ["status=done", "classification=same", "cursor=nonsense"])
async def test_a_filter_that_fits_nothing_is_explained(api: Api, query: str) -> None:
    await sign_in(api)
    answer = await api.stranger.get(f"/dashboard/evaluations?{query}")
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


@pytest.mark.parametrize(
    "path", ["/dashboard/nowhere", "/dashboard/evaluations/ev-1", "/dashboard/sweeps/sw-1"]
)
async def test_what_there_is_not_is_a_page_too(api: Api, path: str) -> None:
    await sign_in(api)
    answer = await api.stranger.get(path)
    assert answer.status_code == 404
    assert "<h1>" in answer.text


async def test_the_parts_are_shown_while_a_redis_is_away(api: Api) -> None:
    await sign_in(api)
    answer = await api.stranger.get("/dashboard/parts")
    assert answer.status_code == 200
    assert answer.text.count("its Redis does not answer") == 2


async def test_files_of_pages_are_kept_by_browsers(api: Api) -> None:
    login = (await api.stranger.get("/dashboard/login")).text
    addresses = re.findall(r'(?:src|href)="(/dashboard/static/[^"]+)"', login)
    assert len(addresses) >= 5
    for address in addresses:
        answer = await api.stranger.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].split(";")[0] in (
            "text/css",
            "text/javascript",
            "image/svg+xml",
        )
    assert KEY not in login
