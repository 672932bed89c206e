"""Mixed load on a stack: batches, single ones that somebody waits for, cancellations, mismatches, sweeps."""

import threading
import time
from collections import Counter, deque
from itertools import count
from random import Random
from typing import Any

import httpx

from deployments.stack import StackState
from tests.support.stacks import client_of

_PAUSE_S = 0.3
_SLOW_S = 30
_SWEEP_EVERY = 100
_LOOKED_AT = 20
_BUSY = {429, 503}

_QUICK = {"language": "python", "code": "print(sum(range(1000)))"}
_SLOW = {"language": "python", "code": f"import time; time.sleep({_SLOW_S})", "limits": {"wall_s": 60}}
_LOUD = {"language": "bash", "code": "for i in $(seq 2000); do echo line $i; done"}
_WRONG = {"language": "python", "code": "import sys; print('no', file=sys.stderr); sys.exit(3)"}


class Load:
    """A thread that submits until told to stop, and looks what became of it before the store lets it go.

    ``ends`` counts evaluations by how they had to end and how they did; ``verdicts`` does so with sweeps.
    """

    def __init__(self, state: StackState, seed: int) -> None:
        self._api = client_of(state, 60)
        self._chance = Random(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self._open: deque[tuple[str, str]] = deque()
        self._sweeps: list[str] = []
        self.ends: Counter[tuple[str, str]] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.failure: Exception | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Submit nothing more."""
        self._stopping.set()
        self._thread.join()

    def unended(self, within_s: float) -> list[str]:
        """Ids of evaluations and sweeps that have not come to an end when that time is over."""
        deadline = time.monotonic() + within_s
        while (self._open or self._sweeps) and time.monotonic() < deadline:
            self._look(len(self._open))
            time.sleep(_PAUSE_S)
        return [*(evaluation_id for evaluation_id, _ in self._open), *self._sweeps]

    def _run(self) -> None:
        try:
            for number in count(1):
                if self._stopping.wait(_PAUSE_S):
                    return
                self._turn(number)
                self._look(_LOOKED_AT)
        except httpx.HTTPStatusError as error:  # an answer that no server may give: the verdict tells it
            self.failure = error

    def _turn(self, number: int) -> None:
        if number % _SWEEP_EVERY == 0:
            self._sweep()
        elif number % 10 == 0:
            self._cancel_one()
        elif number % 5 == 0:
            self._submit(_QUICK, "?wait=20")
        else:
            among = (_QUICK, _LOUD, _WRONG)
            self._submit([self._chance.choice(among) for _ in range(self._chance.randint(1, 8))])

    def _submit(self, body: Any, query: str = "", wanted: str = "match") -> list[str]:
        answer = self._asked("POST", f"/evaluations{query}", body)
        if answer is None:
            return []
        found = answer.json()
        ids = [each["id"] for each in (found if isinstance(found, list) else [found])]
        self._open += [(each, wanted) for each in ids]
        return ids

    def _cancel_one(self) -> None:
        for each in self._submit(_SLOW, wanted="cancelled"):
            while not self._stopping.is_set() and self._asked("DELETE", f"/evaluations/{each}") is None:
                self._stopping.wait(_PAUSE_S)

    def _sweep(self) -> None:
        answer = self._asked("POST", "/sweeps", {"limit": 40})
        if answer is not None:
            self._sweeps.append(answer.json()["id"])

    def _look(self, number: int) -> None:
        """At the oldest evaluations that were open when last looked at, and at all such sweeps."""
        for _ in range(min(number, len(self._open))):
            evaluation_id, wanted = self._open.popleft()
            answer = self._asked("GET", f"/evaluations/{evaluation_id}")
            if answer is None or (end := answer.json()["classification"]) is None:
                self._open.append((evaluation_id, wanted))
            else:
                self.ends[wanted, end] += 1
        for each in list(self._sweeps):
            answer = self._asked("GET", f"/sweeps/{each}")
            if answer is not None and (verdict := answer.json()["verdict"]) is not None:
                self._sweeps.remove(each)
                self.verdicts[verdict] += 1

    def _asked(self, method: str, path: str, body: Any = None) -> httpx.Response | None:
        """The answer; null where a server is away or has enough to do."""
        try:
            answer = self._api.request(method, path, json=body)
        except httpx.TransportError:
            return None
        if answer.status_code in _BUSY:
            return None
        return answer.raise_for_status()
