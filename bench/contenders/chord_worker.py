"""``python -m bench.contenders.chord_worker``: the worker of the chord, one process with threads."""

import os
import signal
import threading
from typing import Any

from celery import signals

from bench.child import Orders
from bench.contenders.chord_app import make_app


def main() -> None:
    """Say when the queue is being served, and work until the bench hangs up."""
    orders = Orders()

    def on_ready(**_: Any) -> None:
        orders.say_ready()
        threading.Thread(target=_end_with_bench, args=(orders,), daemon=True).start()

    signals.worker_ready.connect(on_ready)
    make_app().worker_main(
        ["worker", "--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    )


def _end_with_bench(orders: Orders) -> None:
    orders.next()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
