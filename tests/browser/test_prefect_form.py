"""A flow that somebody starts by Prefect's form, and one that somebody cancels in Prefect's pages."""

import re

import httpx
import pytest

from deployments.stack import StackState
from tests.support.browser import Visitor
from tests.support.flow_runs import created
from tests.support.waiting import patiently

pytestmark = pytest.mark.stack

_EVALUATION = re.compile(r"/dashboard/evaluations/(ev-[0-9A-Z]{26})")


def hand_in(visitor: Visitor, stack: StackState, code: str) -> None:
    """Fills in the form for a Python program, and opens the page of its flow run."""
    deployment = httpx.get(
        f"{stack.prefect_api_url}/deployments/name/evaluate-program/evaluate", timeout=60
    ).json()
    page = visitor.page
    visitor.open(f"/prefect/deployments/deployment/{deployment['id']}/run")
    visitor.sees("From 0 to 9; what has 9 is run first.")
    page.locator(".schema-form-property-string button").first.focus()
    page.keyboard.press("ArrowDown")
    page.locator(".p-select-option", has_text=re.compile("^python$")).click()
    page.get_by_role("textbox").nth(1).fill(code)
    with page.expect_response(re.compile("/create_flow_run$")) as made:
        page.get_by_role("button", name="Submit").click()
    visitor.open(f"/prefect/runs/flow-run/{made.value.json()['id']}")


def test_a_program_handed_in_by_the_form_is_run_and_compared(visitor: Visitor, stack: StackState) -> None:
    hand_in(visitor, stack, "print('by the form')")
    visitor.sees("Completed")
    visitor.page.get_by_text(_EVALUATION).first.wait_for()
    assert visitor.faults == []


def test_to_cancel_in_prefect_stops_both_legs(visitor: Visitor, stack: StackState) -> None:
    # Not by the form: what that leaves out ends after ten seconds, and pages may take longer to come.
    program = {"language": "python", "code": "import time; time.sleep(300)", "limits": {"wall_s": 300}}
    flow_run = created(stack.prefect_api_url, "evaluate-program/evaluate", program)
    visitor.open(f"/prefect/runs/flow-run/{flow_run['id']}")
    page = visitor.page
    link = page.get_by_text(_EVALUATION).first
    found = _EVALUATION.search(link.inner_text())
    assert found is not None
    running = f"{stack.api_url}/evaluations/{found[1]}"
    bearer = {"Authorization": f"Bearer {stack.api_key}"}
    page.get_by_role("button", name="Cancel").first.click()
    page.get_by_role("button", name="Confirm").click()
    visitor.sees("Cancelled")
    patiently(lambda: httpx.get(running, headers=bearer, timeout=60).json()["classification"] == "cancelled")
    assert visitor.faults == []
