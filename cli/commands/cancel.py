"""``crucible cancel``: evaluations and sweeps that nobody wants any more."""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer

from cli.exits import Json, show
from cli.running import api_client
from crucible.errors import InputError, ServiceUnavailable
from crucible.settings import Settings, load
from deployments.stack import Home, StackState, read_state
from tasks.http_faults import http_faults

_WITHIN_S = 60.0
_KINDS = {"ev-": "evaluations", "sw-": "sweeps"}


def command(
    *,
    ids: Annotated[
        list[str],
        typer.Argument(help="Evaluations (ev-…) and sweeps (sw-…), by Crucible's ids.", metavar="ID..."),
    ],
    as_json: Json = False,
) -> None:
    """Cancel evaluations and sweeps, whoever runs them on the stack that is up.

    What waits is taken out of the queues, programs are ended, and the ledger says cancelled. What was settled
    before stays as it is. Exit 0, 2 when there is none of some id (the others are cancelled all the same),
    4 when no stack is up.

    Example: crucible cancel ev-01M8274FT4D5Q96BD2F9SCAN7X
    """
    home = Home.at(load(Settings).home)
    state = read_state(home.root)
    if state is None:
        raise ServiceUnavailable(f"no stack is up in {home.root}, so nothing runs there; see `crucible up`")
    found, unknown = _cancelled(state, ids)
    show({"settled": found}, "\n".join(map(_in_words, found)), as_json=as_json)
    if unknown:
        raise InputError(f"there is no {', no '.join(unknown)} in the store; see the ids in the report")


def _cancelled(state: StackState, ids: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """What became of those there are, and which there are not."""
    found, unknown = [], []
    with api_client(state, _WITHIN_S) as client:
        for each in dict.fromkeys(ids):
            kind = _KINDS.get(each[:3], "evaluations")
            answer = _delete(client, f"/{kind}/{quote(each, safe='')}")
            if answer is None:
                unknown.append(each)
            elif kind == "sweeps":
                found.append({"id": each, "counts": answer})
            else:
                found.append({"id": each, "classification": answer["classification"]})
    return found, unknown


def _delete(client: httpx.Client, path: str) -> Any:
    """The API's answer; null when it knows no such thing."""
    with http_faults(f"the API at {client.base_url}", "see `crucible status`"):
        answer = client.delete(path)
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return None
    if not answer.is_success:
        raise ServiceUnavailable(f"the API answered {answer.status_code}: {answer.text[:500]}")
    return answer.json()


def _in_words(ended: dict[str, Any]) -> str:
    if "counts" not in ended:
        return f"{ended['id']}: {ended['classification']}"
    told = ", ".join(f"{number} {column}" for column, number in ended["counts"].items() if number)
    return f"{ended['id']}: {told or 'nothing was submitted'}"
