"""Ends programs at executors, over connections of its own."""

from collections.abc import Collection, Sequence
from http import HTTPStatus
from urllib.parse import quote

import urllib3

_WITHIN_S = 2.0


class Killer:
    """Has the executors at ``urls`` end runs. Threads that share one are served one after the other.

    It needs connections of its own: those of clients that wait for programs are all in use just then.
    """

    def __init__(self, urls: Sequence[str], token: str) -> None:
        self._headers = {"Authorization": f"Bearer {token}"}
        self._pools = tuple(urllib3.connection_from_url(url, maxsize=1, block=True) for url in urls)

    def end(self, run_ids: Collection[str]) -> int:
        """Have every executor end those of ``run_ids`` that it has; returns how many it had.

        An executor that does not answer is asked no further, and nothing is raised.
        """
        ended = 0
        for pool in self._pools:
            try:
                for run_id in run_ids:
                    ended += self._is_ended(pool, run_id)
            except urllib3.exceptions.HTTPError:
                continue
        return ended

    def close(self) -> None:
        """Close the connections."""
        for pool in self._pools:
            pool.close()

    def _is_ended(self, pool: urllib3.HTTPConnectionPool, run_id: str) -> bool:
        path, timeout = f"/executions/{quote(run_id)}", urllib3.Timeout(_WITHIN_S)
        # Once more over a new connection: an executor closes those that were not used for a while.
        tries = urllib3.Retry(1, backoff_factor=0)
        response = pool.urlopen("DELETE", path, None, self._headers, retries=tries, timeout=timeout)
        return response.status == HTTPStatus.ACCEPTED
