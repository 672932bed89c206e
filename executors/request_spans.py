"""The spans of an executor, which makes none: whoever asks it makes them of the timings in its answer."""

import time

from opentelemetry.trace import SpanKind

from crucible.telemetry.spans import begin, failed, here
from executors.timings import timings_in


def tell_request(header: str, began_ns: int, fault: str | None) -> None:
    """Make the span ``request`` and those below it, of a request that began then and is answered now.

    It lies in the middle of the time that it took as seen from here, whatever the executor's clock says.
    ``fault`` is why it was refused.
    """
    place = here()
    timings = timings_in(header) if place is not None and place.trace_flags.sampled else []
    if not timings:
        return
    whole, *parts = timings
    took_ns = _ns(whole.duration_s)
    arrived_ns = began_ns + max(0, time.time_ns() - began_ns - took_ns) // 2
    service = whole.detail or "executor"
    about = {"path": "/execute"}
    request = begin("request", place, about, start_ns=arrived_ns, service=service, kind=SpanKind.SERVER)
    for each in parts:
        begun_ns = arrived_ns + _ns(each.began_s)
        isolation = {"isolation": each.detail} if each.detail else {}
        part = begin(each.name, request.get_span_context(), isolation, start_ns=begun_ns, service=service)
        part.end(begun_ns + _ns(each.duration_s))
    if fault is not None:
        failed(request, fault)
    request.end(arrived_ns + took_ns)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
