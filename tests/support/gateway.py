"""A real nginx with the product's configuration, in front of servers that say what they were asked."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from deployments.stack.servers import Behind, find_nginx, gateway_service
from tests.support.serving import served
from tests.support.valkey import free_port

PASSWORD = "known to the gateway"
ANYBODY = {"Cookie": "session=anybody"}
READER = {"Cookie": "session=reader"}
_ANSWERS = {"session=anybody": 204, "session=reader": 403}


@dataclass
class Gateway:
    """A gateway that runs. ``client`` has nothing to show; ``allowed`` has what was asked about others."""

    client: httpx.AsyncClient
    folder: Path
    allowed: list[dict[str, str]] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def log(self) -> str:
        """What it has noted of requests."""
        return (self.folder / "access.log").read_text()


@asynccontextmanager
async def gateway(
    folder: Path, prefect_elsewhere: str = "", away: Collection[str] = ()
) -> AsyncIterator[Gateway]:
    """One in ``folder``; nobody serves what is ``away``. Skips the test where there is no nginx."""
    nginx = find_nginx()
    if nginx is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    async with AsyncExitStack() as exits:
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)
        made = Gateway(await exits.enter_async_context(client), folder)
        urls = [
            f"http://127.0.0.1:{free_port()}"
            if name in away
            else await exits.enter_async_context(served(_app(name, made)))
            for name in ("api", "prefect", "flower")
        ]
        api, *others = urls
        behind = Behind((api,), *others, flower_password=PASSWORD, prefect_elsewhere=prefect_elsewhere)
        spec = gateway_service(nginx, folder, port, behind)
        process = await asyncio.create_subprocess_exec(*spec.argv)
        while not await spec.ready.holds(folder, 0):
            assert process.returncode is None, "nginx has ended"
            await asyncio.sleep(0.02)
        yield made
        made.go_on.set()
        process.terminate()
        await process.wait()


def _app(name: str, seen: Gateway) -> Starlette:
    async def echo(request: Request) -> Response:
        body = await request.body()
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        asked = {"server": name, "method": request.method, "target": target, "bytes": len(body)}
        return JSONResponse({**asked, "headers": dict(request.headers)})

    async def allowed(request: Request) -> Response:
        seen.allowed.append({**request.headers, "method": request.method})
        return Response(status_code=_ANSWERS.get(request.headers.get("cookie", ""), 401))

    async def events(_request: Request) -> Response:
        async def told() -> AsyncIterator[str]:
            yield "data: first\n\n"
            await seen.go_on.wait()
            yield "data: second\n\n"

        return StreamingResponse(told(), media_type="text/event-stream")

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(f"{socket.url.path} heard {await socket.receive_text()}")
        await socket.close()

    return Starlette(
        routes=[
            Route("/dashboard/allowed", allowed),
            Route("/events", events),
            WebSocketRoute("/prefect/api/events/out", talk),
            Route("/{path:path}", echo, methods=["GET", "HEAD", "POST", "PUT", "DELETE"]),
        ]
    )
