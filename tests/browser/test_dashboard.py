"""The dashboard in a real browser: from a program that is handed in to the way back."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from deployments.stack import StackState
from tests.support.browser import Visitor, visiting
from tests.support.flow_runs import has_steps
from tests.support.waiting import patiently

pytestmark = pytest.mark.stack

PAGES = (
    *("/", "/dashboard/evaluations", "/dashboard/evaluations/new", "/dashboard/sweeps", "/dashboard/rollout"),
    *("/dashboard/causes", "/dashboard/parts", "/dashboard/evaluations/{}"),
)


@pytest.fixture(scope="module")
def api(stack: StackState) -> Iterator[httpx.Client]:
    """The API of the stack, with its own key."""
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def mismatch(api: httpx.Client) -> str:
    """The id of an evaluation on which the legs differ."""
    program = {"id": "clock", "language": "python", "code": "import time; print('at', time.time_ns())"}
    answer = api.post("/evaluations", params={"wait": 120}, json=program).raise_for_status().json()
    assert answer["classification"] == "mismatch"
    return str(answer["id"])


@pytest.fixture
def undone(api: httpx.Client) -> Iterator[None]:
    """The migration stands at shadow in a fresh epoch when the test is over."""
    yield
    asked = {"action": "set", "stage": "shadow", "new_epoch": True, "held": False, "force": True}
    api.put("/rollout", json=asked).raise_for_status()


def submit(visitor: Visitor, name: str, code: str) -> str:
    """Hands a program in by the form; returns the evaluation's id from the page that follows."""
    visitor.open("/dashboard/evaluations/new")
    page = visitor.page
    page.get_by_label("Name").fill(name)
    page.get_by_label("Language").select_option("python")
    page.get_by_label("Program").fill(code)
    page.get_by_role("button", name="Run on both legs").click()
    page.wait_for_url(re.compile(r"/dashboard/evaluations/ev-\w{26}$"))
    return page.url.rpartition("/")[2]


def sleeping(api: httpx.Client) -> str:
    """The id of an evaluation that runs for longer than any test."""
    limits = {"wall_s": 290, "cpu_s": 5}
    program = {"language": "python", "code": "import time; time.sleep(280)", "limits": limits}
    return str(api.post("/evaluations", json=program).raise_for_status().json()["id"])


def running_on(visitor: Visitor, leg: str) -> str:
    """How many run, as the page of the parts has it now: it goes along with events, and this is none."""
    visitor.open("/dashboard/parts")
    row = visitor.page.locator("#queues tbody tr").filter(has_text=leg)
    cells = row.locator("td").all_inner_texts()
    return cells[11] if len(cells) > 11 else ""  # its Redis did not answer in time


def test_an_evaluation_is_watched_from_its_submission_to_its_comparison(visitor: Visitor) -> None:
    page = visitor.page
    # Its page must come while it runs, which by itself it may for ten seconds.
    submit(visitor, "slow", "import time\ntime.sleep(7)\nprint('done')\n")
    expect(page.locator("#summary")).to_contain_text("running")
    page.evaluate("window.isTheSame = true")
    expect(page.locator("#summary")).to_contain_text("match")
    expect(page.locator("#comparison")).to_contain_text("done")
    expect(page.locator("#waterfall")).to_contain_text("executor-3")
    assert page.evaluate("window.isTheSame"), "the page was loaded again"
    assert visitor.faults == []


def test_the_overview_goes_along_with_what_happens(visitor: Visitor, api: httpx.Client) -> None:
    visitor.open("/")
    page = visitor.page
    page.evaluate("window.isTheSame = true")
    program = {"id": "seen-at-once", "language": "python", "code": "print(1)"}
    api.post("/evaluations", params={"wait": 60}, json=program).raise_for_status()
    expect(page.locator("#newest")).to_contain_text("seen-at-once")
    assert page.evaluate("window.isTheSame")


def test_a_mismatch_shows_its_diff_and_its_trace_and_leads_on(
    visitor: Visitor, stack: StackState, mismatch: str
) -> None:
    page = visitor.page
    visitor.open("/dashboard/evaluations?classification=mismatch")
    page.locator(f"a[href='/dashboard/evaluations/{mismatch}']").click()
    expect(page.locator(".diff .minus").first).to_contain_text("at ")
    expect(page.locator(".diff .plus mark").first).to_be_visible()
    expect(page.locator(".panes")).to_contain_text("stdout on celery")
    expect(page.locator("#waterfall svg").first).to_be_visible()
    link = page.get_by_role("link", name="flow run 1 in Prefect")
    flow_run = (link.get_attribute("href") or "").rpartition("/")[2]
    patiently(lambda: has_steps(stack.prefect_api_url, flow_run, "celery leg"))
    link.click()
    visitor.sees("celery leg")
    page.go_back()
    page.get_by_role("link", name="task in Flower").click()
    visitor.sees("SUCCESS")
    assert visitor.faults == []


def test_cancel_in_the_prefect_ui_stops_both_legs(visitor: Visitor, api: httpx.Client) -> None:
    page, evaluation_id = visitor.page, sleeping(api)
    visitor.open(f"/dashboard/evaluations/{evaluation_id}")
    page.get_by_role("link", name="flow run in Prefect").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Confirm").click()
    visitor.sees("Cancelled")
    visitor.open(f"/dashboard/evaluations/{evaluation_id}")
    expect(page.locator("#summary")).to_contain_text("cancelled")
    patiently(lambda: {running_on(visitor, leg) for leg in ("legacy", "celery")} == {"0"})


def test_cancel_on_the_page_asks_first(visitor: Visitor, api: httpx.Client) -> None:
    page, evaluation_id = visitor.page, sleeping(api)
    visitor.open(f"/dashboard/evaluations/{evaluation_id}")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Leave it").click()
    assert api.get(f"/evaluations/{evaluation_id}").json()["classification"] is None
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel it").click()
    expect(page.locator("#summary")).to_contain_text("cancelled")


@pytest.mark.usefixtures("undone")
def test_an_operator_rolls_back_by_keyboard_alone(visitor: Visitor, api: httpx.Client) -> None:
    visitor.open("/dashboard/rollout")
    page = visitor.page
    page.get_by_role("button", name="Roll back…").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Roll back to legacy")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("Enter")
    page.get_by_label("Reason").locator("visible=true").fill("practice")
    page.keyboard.press("Enter")
    expect(page.locator("#stage .present")).to_have_text("legacy")
    expect(page.locator("#changes")).to_contain_text("practice")
    assert api.get("/rollout").json()["stage"] == "legacy"
    assert visitor.faults == []


@pytest.mark.parametrize("is_open", [False, True])
def test_a_button_that_is_replaced_stays_the_one_in_focus(
    visitor: Visitor, api: httpx.Client, *, is_open: bool
) -> None:
    visitor.open("/dashboard/rollout")
    page = visitor.page
    button = page.get_by_role("button", name="Hold…")
    button.focus()
    if is_open:
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
    page.evaluate("document.getElementById('actions').isOld = true")
    api.post("/evaluations", params={"wait": 60}, json={"language": "python", "code": "print(1)"})
    patiently(lambda: not page.evaluate("document.getElementById('actions').isOld"))
    if is_open:
        page.keyboard.press("Escape")
    expect(button).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(browser: Browser, stack: StackState, mismatch: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with visiting(browser, stack, scheme) as visitor:
        for path in PAGES:
            visitor.open(path.format(mismatch))
            found = axe.run(visitor.page).response["violations"]
            assert [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found] == [], path


def test_pages_fit_a_phone(visitor: Visitor, mismatch: str) -> None:
    visitor.page.set_viewport_size({"width": 375, "height": 700})
    for path in PAGES:
        visitor.open(path.format(mismatch))
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 375, path


def test_pages_say_when_they_are_not_live_and_when_they_are_again(visitor: Visitor) -> None:
    page = visitor.page
    page.route("**/dashboard/events*", lambda route: route.abort())
    visitor.open("/")
    expect(page.locator("#connection")).to_be_visible()
    page.unroute("**/dashboard/events*")
    expect(page.locator("#connection")).to_be_hidden()
