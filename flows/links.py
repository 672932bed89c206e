"""Where our own pages are, for those who look at Prefect's."""

from functools import cache

from crucible.settings import Settings, load


def evaluation_page(evaluation_id: str) -> str | None:
    """The page of an evaluation; null where no gateway is known."""
    return _page(f"evaluations/{evaluation_id}")


def sweep_page(sweep_id: str) -> str | None:
    """The page of a sweep; null where no gateway is known."""
    return _page(f"sweeps/{sweep_id}")


def linked(text: str, page: str | None) -> str:
    """``text`` as Markdown that leads to ``page``, if there is one."""
    return f"[{text}]({page})" if page else text


def rollout_page() -> str | None:
    """The page of the migration; null where no gateway is known."""
    return _page("rollout")


def _page(path: str) -> str | None:
    gateway = _gateway()
    return f"{gateway.rstrip('/')}/dashboard/{path}" if gateway else None


@cache
def _gateway() -> str | None:
    """Read once: to read all settings takes longer than to run a flow's first step."""
    return load(Settings).gateway_url
