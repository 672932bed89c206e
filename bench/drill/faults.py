"""An executor-3 of the drill's own, what can be wrong with it, and the door through which that is put in."""

import asyncio
import base64
import itertools
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

import httpx
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deployments.stack import Home, StackState
from deployments.stack.service import Answers, ServiceSpec, Tier, choose_ports
from deployments.stack.supervisor import Supervisor

_AT_ONCE = 4
_LIST = 5
_WAIT_S = 60
_LOOK_EVERY_S = 0.5
_LOOKS = 240
_TENANTS = 40
_PROGRAMS = {"python": "print({number} * {number})", "bash": "echo $(({number} * {number}))"}


@dataclass(frozen=True, slots=True)
class Answered:
    """One evaluation of the traffic: who answered, and whether the answer is right."""

    id: str
    answered_by: str | None
    is_right: bool


@dataclass
class Traffic:
    """What was sent and what came back. ``lost`` evaluations never got an answer."""

    api: httpx.AsyncClient
    answered: list[Answered] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Send lists, one after the other in each of a few lines, until the end; all are waited for."""
        ending = asyncio.Event()
        async with asyncio.TaskGroup() as lines:
            for _ in range(_AT_ONCE):
                lines.create_task(self._line(ending))
            try:
                yield
            finally:
                ending.set()

    async def _line(self, ending: asyncio.Event) -> None:
        while not ending.is_set():
            numbers = [next(self._numbers) for _ in range(_LIST)]
            orders = [_evaluation(number) for number in numbers]
            response = await self.api.post("/evaluations", json=orders, params={"wait": _WAIT_S})
            response.raise_for_status()
            for number, state in zip(numbers, response.json(), strict=True):
                self._note(number, await self._settled(state))

    async def _settled(self, state: dict[str, object]) -> dict[str, object]:
        """``state`` once it is settled: on a busy machine that may take longer than a request waits."""
        for _ in range(_LOOKS):
            if state["status"] == "settled":
                break
            await asyncio.sleep(_LOOK_EVERY_S)
            state = (await self.api.get(f"/evaluations/{state['id']}")).raise_for_status().json()
        return state

    def _note(self, number: int, state: dict[str, object]) -> None:
        comparison, who = state["comparison"], state["answered_by"]
        if not isinstance(comparison, dict) or not isinstance(who, str):
            self.lost.append(f"{state['id']} is {state['classification']}: {comparison}")
            return
        right = f"{number * number}\n".encode()
        seen = comparison[who]
        is_right = seen["exit_code"] == 0 and base64.b64decode(seen["stdout_b64"]) == right
        self.answered.append(Answered(str(state["id"]), who, is_right))


@asynccontextmanager
async def traffic_to(state: StackState) -> AsyncIterator[Traffic]:
    """Traffic for the stack in ``state``; it flows only while told to."""
    headers = {"Authorization": f"Bearer {state.api_key}"}
    async with httpx.AsyncClient(
        base_url=state.api_url, headers=headers, timeout=_WAIT_S + 30, trust_env=False
    ) as api:
        yield Traffic(api)


def _evaluation(number: int) -> dict[str, object]:
    language = list(_PROGRAMS)[number % len(_PROGRAMS)]
    return {
        "id": f"drill-{number}",
        "language": language,
        "code": _PROGRAMS[language].format(number=number),
        "tenant": f"tenant-{number % _TENANTS}",
    }


_PASSED_ON = ("authorization", "content-type", "accept")
_MORE_THAN_ANY_RUN_S = 120.0
_READY_WITHIN_S = 60.0


@asynccontextmanager
async def own_executor(name: str, token: str, home: Home) -> AsyncIterator[str]:
    """The URL of an executor that runs until the end; raises ``StackError`` when it does not get ready."""
    port = choose_ports({"executor": 0})["executor"]
    url = f"http://127.0.0.1:{port}"
    settings = {"NAME": name, "HOST": "127.0.0.1", "PORT": str(port), "TOKEN": token}
    service = ServiceSpec(
        name=name,
        argv=(sys.executable, "-P", "-m", "executors.service"),
        environment=os.environ | {f"CRUCIBLE_EXECUTOR_{key}": value for key, value in settings.items()},
        ready=Answers(f"{url}/health"),
        tier=Tier.EXECUTORS,
    )
    supervisor = Supervisor([service], home, lambda *_change: None)
    try:
        await supervisor.start(_READY_WITHIN_S)
        yield url
    finally:
        await supervisor.stop()


class Fault(StrEnum):
    """What is wrong with what comes back, if anything does."""

    NONE = "none"
    WRONG_OUTPUT = "wrong output"
    WRONG_EXIT_CODE = "wrong exit code"
    AWAY = "away"
    CUT_SHORT = "output cut short"


class Door:
    """Stands in front of an executor and passes everything on; ``fault`` spoils what comes back from now on.

    ``spoiled`` counts the answers that were.
    """

    def __init__(self, executor_url: str) -> None:
        self.fault = Fault.NONE
        self.spoiled = 0
        self.url = ""
        self._executor = httpx.AsyncClient(
            base_url=executor_url, timeout=_MORE_THAN_ANY_RUN_S, trust_env=False
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve on a free port of this machine, until the end."""
        methods = ["GET", "POST", "DELETE"]
        app = Starlette(routes=[Route("/{path:path}", self._pass_on, methods=methods)])
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            config = uvicorn.Config(app, access_log=False, log_level="warning")
            async with self._executor, _serving(config, listener):
                yield

    async def _pass_on(self, request: Request) -> Response:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        running = request.url.path == "/execute"
        if running and self.fault is Fault.AWAY:
            self.spoiled += 1
            return Response(status_code=HTTPStatus.BAD_GATEWAY)
        answer = await self._executor.request(
            request.method, request.url.path, content=await request.body(), headers=headers
        )
        content = answer.content
        if running and answer.status_code == HTTPStatus.OK and self.fault is not Fault.NONE:
            self.spoiled += 1
            content = _spoiled(content, self.fault)
        return Response(content, answer.status_code, media_type=answer.headers.get("content-type"))


def _spoiled(body: bytes, fault: Fault) -> bytes:
    observation = orjson.loads(body)
    stdout = base64.b64decode(observation.get("stdout_b64", ""))
    match fault:
        case Fault.WRONG_OUTPUT:
            observation["stdout_b64"] = base64.b64encode(b"0" + stdout).decode()
        case Fault.CUT_SHORT:
            observation["stdout_b64"] = base64.b64encode(stdout[: len(stdout) // 2]).decode()
        case _:
            observation.update(outcome="nonzero_exit", exit_code=1)
    return orjson.dumps(observation)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the loop."""
        yield


@asynccontextmanager
async def _serving(config: uvicorn.Config, listener: socket.socket) -> AsyncIterator[None]:
    """Serve on ``listener`` until the end."""
    server = _Server(config)
    running = asyncio.create_task(server.serve([listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await running
