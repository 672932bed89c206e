"""Flower over the Celery leg: ``python -m tasks.celery_leg.flower_server``; it shows and changes nothing.

Not by its own command, which wants an application made at import and its password where all can read it.
"""

import asyncio
import signal
import sys

from flower.app import Flower
from flower.command import extract_settings
from flower.options import options
from flower.urls import settings as tornado_settings

from crucible.errors import CrucibleError, SettingsError
from crucible.settings import CelerySettings, Settings, load
from tasks.celery_leg.app import make_app
from tasks.worker_process import start_log

_USER = "gateway"
_RUNS_KEPT = 10_000
_SAVE_EVERY_MS = 60_000
_GONE_FOR_S = 3600


def main() -> int:
    """Serve until SIGTERM; exit 2 on a setting that cannot be used."""
    try:
        settings, celery = load(Settings), load(CelerySettings)
        if settings.celery_redis_url is None:
            raise SettingsError("CRUCIBLE_CELERY_REDIS_URL is not set; Flower watches that broker")
    except CrucibleError as error:
        sys.stderr.write(f"flower: {error}\n")
        return 2
    start_log("flower")
    _set_options(settings)
    asyncio.run(_serve(settings.celery_redis_url, celery))
    return 0


def _set_options(settings: Settings) -> None:
    """Set what Flower keeps for the whole process."""
    folder = settings.home / "flower"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = settings.flower_password
    options.address, options.port = settings.flower_host, settings.flower_port
    options.url_prefix = "flower"
    options.basic_auth = [f"{_USER}:{password.get_secret_value()}"] if password else []
    options.read_only = True
    options.persistent, options.db = True, str(folder / "state")
    options.state_save_interval = _SAVE_EVERY_MS
    options.max_tasks = _RUNS_KEPT
    options.purge_offline_workers = _GONE_FOR_S
    # Workers are told by their settings; none listens for being told by message.
    options.enable_events = False
    extract_settings()


async def _serve(broker_url: str, celery: CelerySettings) -> None:
    app = make_app(broker_url, celery)
    # The plain one: Flower knows brokers by the names of their transports.
    app.conf.broker_transport = "redis"
    flower = Flower(capp=app, options=options, **tornado_settings)
    flower.start_http_server()
    flower.events.start()
    flower.started = True
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    flower.events.stop()


if __name__ == "__main__":
    sys.exit(main())
