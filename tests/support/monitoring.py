"""The files of ``deployments/monitoring``, and what their expressions ask for."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deployments" / "monitoring"
ALERTS, DASHBOARD = FOLDER / "alerts.yml", FOLDER / "grafana-dashboard.json"
PROMETHEUS = FOLDER / "prometheus.yml"

_OF_PROMETHEUS = {"up": {"job", "instance"}}
_GIVEN = {"job", "instance"}
"""Labels that Prometheus itself adds to everything."""

_METRIC = re.compile(r"\b((?:crucible|process)_[a-z0-9_]+|up)\b(?:\{([^}]*)\})?")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
_MATCHER = re.compile(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"')
_TEMPLATE = re.compile(r"\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}")


@dataclass(frozen=True)
class Expression:
    """One expression, and the labels that the text beside it names."""

    text: str
    named: frozenset[str]

    def asks_for(self) -> Iterator[tuple[str, set[str]]]:
        """Metrics, each with the labels it must have."""
        grouped = {
            label.strip()
            for group in _GROUPING.findall(self.text)
            for label in group.split(",")
            if label.strip()
        }
        for name, matchers in _METRIC.findall(self.text):
            if name in _OF_PROMETHEUS:
                continue
            wanted = set(_MATCHER.findall(matchers)) | grouped | self.named
            yield name, wanted - _GIVEN - {"value"}


def rules() -> list[dict[str, Any]]:
    """All alerts."""
    document = yaml.safe_load(ALERTS.read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """All panels of the dashboard but those that are headings."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [each for each in found if each["type"] != "row"]


def asked_of_prometheus() -> list[Expression]:
    """Every expression of alerts and dashboard."""
    alerts = [Expression(rule["expr"], _labels(" ".join(rule["annotations"].values()))) for rule in rules()]
    shown = [
        Expression(target["expr"], _labels(target["legendFormat"]))
        for panel in panels()
        for target in panel["targets"]
    ]
    return alerts + shown


def _labels(text: str) -> frozenset[str]:
    return frozenset(_TEMPLATE.findall(text))
