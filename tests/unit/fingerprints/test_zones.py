"""Another zone is known as such whichever it is, for every zone of the database."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, available_timezones

import pytest

from crucible.fingerprints import Change, fingerprint
from tests.support.comparisons import differ

MOMENT = 1_700_000_000
"""Zones were not yet all whole quarters of an hour from each other in 1970."""

PRINTED = {
    "all of it": lambda at: f"('{at.tzname()}',) {at:%Z %z} {tuple(at.timetuple())[:6]}\n",
    "as date does": lambda at: f"{at:%a %b %e %H:%M:%S %Z %Y}\n",
    "without zone": lambda at: f"{at.replace(tzinfo=None).isoformat()}\n",
    "with offset": lambda at: f"{at.isoformat()}\n",
    "its name": lambda at: f"{at.tzname()}\n",
    "the day": lambda at: f"{at:%Y-%m-%d}\n",
}


def moment(zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(MOMENT, zone)


@pytest.mark.parametrize("printed", PRINTED.values(), ids=PRINTED)
def test_every_zone_that_shows_is_another_zone(printed) -> None:
    legacy = printed(moment(UTC))
    found = {}
    for name in available_timezones():
        celery = printed(moment(ZoneInfo(name)))
        seen = fingerprint(differ(legacy, celery))
        if seen is None:
            assert celery == legacy
        else:
            found[name] = (seen.kind, seen.digest)
    assert len(found) > 200
    assert set(found.values()) == {(Change.ZONE, found["Asia/Tokyo"][1])}
