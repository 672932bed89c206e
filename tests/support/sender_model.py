"""The books of flow hosts, as far as they matter to whoever runs what they send."""

from dataclasses import dataclass, field

from crucible.models import LEGS, Leg
from tests.support.platform_model import Key, Platform, Violation

MAX_FAULTS = 2


@dataclass(slots=True)
class Asked:
    """One run, as the host that owns it sees it: ``ended`` says what became of it on each leg."""

    run_id: str
    host: int
    ended: dict[Leg, bytes | None] = field(default_factory=dict)
    faults: dict[Leg, int] = field(default_factory=lambda: dict.fromkeys(LEGS, 0))
    times_settled: int = 0


class Senders:
    """Flow hosts: each takes over what another has left, on a reply stream of its own."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.asked: dict[str, Asked] = {}
        self.cancelled: set[str] = set()
        self._read: dict[int, int] = {}

    @staticmethod
    def stream(host: int) -> str:
        """Where a host reads."""
        return f"replies:{host}"

    def send(self, run_id: str) -> None:
        """A new run, to both legs."""
        self.asked[run_id] = Asked(run_id, 0)
        for leg in LEGS:
            self._platform.send(run_id, leg, self.stream(0))

    def open_legs(self, asked: Asked) -> list[Leg]:
        """What it still waits for."""
        return [leg for leg in LEGS if leg not in asked.ended]

    def send_again(self, asked: Asked, leg: Leg) -> None:
        """What has no answer yet."""
        self._platform.send(asked.run_id, leg, self.stream(asked.host))

    def take_over(self, asked: Asked) -> None:
        """Another host begins anew with what is not settled; the one before reads no more."""
        asked.host += 1
        asked.ended.clear()
        asked.faults = dict.fromkeys(LEGS, 0)
        for leg in LEGS:
            self.send_again(asked, leg)

    def cancel(self, asked: Asked, marked: str) -> None:
        """Nobody wants it any more: the mark first, then the books."""
        self._platform.mark(marked)
        self.cancelled.add(asked.run_id)
        for leg in self.open_legs(asked):
            asked.ended[leg] = None
        self.settle(asked)

    def read(self, host: int, *, again: bool = False) -> None:
        """Everything new on a host's stream, or all of it once more."""
        told = self._platform.replies(self.stream(host))
        for fields in told[0 if again else self._read.get(host, 0) :]:
            self._hear(host, fields)
        self._read[host] = len(told)

    def lose_replies(self, host: int) -> None:
        """What a host has read is trimmed, and what it has not read is gone with its server's memory."""
        self._platform.client.xtrim(self.stream(host), maxlen=0, approximate=False)
        self._read[host] = 0

    def settle(self, asked: Asked) -> None:
        """Write down what is known once it is; the ledger has each run once."""
        if not asked.times_settled and not self.open_legs(asked):
            asked.times_settled += 1
            self._platform.forget(asked.run_id)

    def check_told(self) -> None:
        """Whatever was told of a run on a leg, on whichever stream, is the first answer that was recorded."""
        for host in range(1 + max((each.host for each in self.asked.values()), default=0)):
            for fields in self._platform.replies(self.stream(host)):
                key = _key(fields)
                if (body := fields.get(b"observation")) is not None and body != self._platform.recorded[key]:
                    raise Violation(f"{key} was told {body!r}, which is not its first answer")

    def _hear(self, host: int, fields: dict[bytes, bytes]) -> None:
        run_id, leg = _key(fields)
        asked = self.asked[run_id]
        if asked.host != host or leg in asked.ended:
            return  # dropped, as what comes late or twice is
        if (body := fields.get(b"observation")) is not None:
            asked.ended[leg] = body
            return
        asked.faults[leg] += 1
        if asked.faults[leg] >= MAX_FAULTS:
            asked.ended[leg] = None
        else:
            self.send_again(asked, leg)


def _key(fields: dict[bytes, bytes]) -> Key:
    leg: Leg = "legacy" if fields[b"leg"] == b"legacy" else "celery"
    return fields[b"id"].decode(), leg
