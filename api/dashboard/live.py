"""What of a page is fetched anew when the server says that something changed."""

from dataclasses import dataclass

from fastapi import Request


@dataclass(frozen=True, slots=True)
class LiveParts:
    """As the template uses it: topic of the events, address to fetch, elements to put in from there.

    ``after`` is the newest event before the page was read: none falls between the page and its stream.
    """

    topic: str
    after: str
    address: str
    elements: str


class Live:
    """Elements of a page, by id, that follow the events of ``topic``."""

    def __init__(self, topic: str, *elements: str) -> None:
        self._topic = topic
        self._elements = ",".join(f"#{each}" for each in elements)

    def at(self, request: Request) -> LiveParts:
        """For the page at the address of ``request``."""
        query = f"?{request.url.query}" if request.url.query else ""
        return LiveParts(self._topic, request.state.place, f"{request.url.path}{query}", self._elements)
