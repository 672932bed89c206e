"""Alert rules, dashboard and example configuration: whole, and fit for whoever is woken by them."""

import json
import re

import pytest
import yaml

from tests.support.monitoring import DASHBOARD, PROMETHEUS, ROOT, asked_of_prometheus, panels, rules

SEVERITIES = {"critical", "warning", "info"}


def anchors(document: str) -> set[str]:
    """The anchors of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", (ROOT / document).read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_what_it_is_how_bad_and_what_to_do(rule: dict[str, object]) -> None:
    about = rule["annotations"]
    assert isinstance(about, dict)
    assert about["summary"].endswith(".")
    assert about["description"]
    document, _, anchor = about["runbook"].partition("#")
    assert anchor in anchors(document)
    labels = rule["labels"]
    assert isinstance(labels, dict)
    assert labels["severity"] in SEVERITIES
    assert re.fullmatch(r"\d+[smh]", str(rule["for"]))


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) >= 10
    assert all(re.fullmatch(r"Crucible[A-Za-z]+", name) for name in names)


def test_panels_have_their_own_place_and_a_unit_or_a_number() -> None:
    found = panels()
    assert len({each["id"] for each in found}) == len(found) >= 15
    taken: set[tuple[int, int]] = set()
    for each in found:
        place = each["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, each["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert each["targets"]


def test_the_dashboard_asks_whichever_prometheus_it_is_given() -> None:
    document = json.loads(DASHBOARD.read_text())
    assert [each["type"] for each in document["templating"]["list"]] == ["datasource"]
    assert {each["datasource"]["uid"] for each in panels()} == {"${datasource}"}


def test_brackets_of_every_expression_are_closed() -> None:
    for each in asked_of_prometheus():
        for opening, closing in ("()", "{}", "[]"):
            assert each.text.count(opening) == each.text.count(closing), each.text
        assert list(each.asks_for()) or each.text.startswith("up"), each.text


def test_the_example_asks_every_process() -> None:
    document = yaml.safe_load(PROMETHEUS.read_text())
    jobs = {each["job_name"]: each for each in document["scrape_configs"]}
    assert set(jobs) == {"crucible-api", "crucible-executors", "crucible-workers", "crucible-flows"}
    targets = [
        target for job in jobs.values() for some in job["static_configs"] for target in some["targets"]
    ]
    assert len(targets) == len(set(targets)) == 8
    assert "authorization" in jobs["crucible-api"]
    assert document["rule_files"] == ["alerts.yml"]
