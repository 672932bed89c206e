"""Which languages can be run: those that every executor runs."""

from collections.abc import Sequence

from crucible.errors import ExecutorUnavailable
from executors.client import ExecutorClient

_ASK_S = 5.0


def languages_of_all(executor_urls: Sequence[str], token: str) -> dict[str, str]:
    """The languages that every executor runs, with the version of the first. Blocks for seconds at most.

    An executor that does not answer is passed over: what it should run will be unpaired and say why.
    Raises ``ExecutorUnavailable`` when none answers.
    """
    found, faults = [], []
    for url in executor_urls:
        client = ExecutorClient([url], token, _ASK_S, 1)
        try:
            found.append(client.languages())
        except ExecutorUnavailable as fault:
            faults.append(fault)
        finally:
            client.close()
    if not found:
        raise faults[0]
    return {name: version for name, version in found[0].items() if all(name in each for each in found)}
