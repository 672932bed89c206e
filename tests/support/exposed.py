"""What a page of metrics exposes."""

from collections.abc import Iterable, Mapping

from prometheus_client.parser import text_string_to_metric_families


def exposed(pages: Iterable[str]) -> Mapping[str, set[str]]:
    """The labels of each sample's name on any of ``pages``; a metric without samples has none."""
    found: dict[str, set[str]] = {}
    for page in pages:
        for family in text_string_to_metric_families(page):
            found.setdefault(family.name, set())
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found
