"""What the processes of the stack see of the user's environment.

The user's own Prefect profile is neither read nor written: home and profiles are this stack's.
"""

import os
import re
import sysconfig
from pathlib import Path

import crucible
from deployments.stack.home import Home
from deployments.stack.service import LOOPBACK

_FOR_ONE_EXECUTOR = re.compile(r"CRUCIBLE_EXECUTOR_(\d+)_(.+)")


def inherited(home: Home, *, own_prefect: bool) -> dict[str, str]:
    """The user's environment with the home made absolute and this very Crucible importable.

    With a Prefect server of our own, settings for another one (a key for Prefect Cloud, say) are left out.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not (own_prefect and name.startswith("PREFECT_")) and not _FOR_ONE_EXECUTOR.fullmatch(name)
    }
    return {**kept, **import_path(), "CRUCIBLE_HOME": str(home.root)}


def for_executor(number: int) -> dict[str, str]:
    """What is set for this executor alone: ``CRUCIBLE_EXECUTOR_3_TZ`` is its ``CRUCIBLE_EXECUTOR_TZ``."""
    matches = ((_FOR_ONE_EXECUTOR.fullmatch(name), value) for name, value in os.environ.items())
    return {
        f"CRUCIBLE_EXECUTOR_{match[2]}": value
        for match, value in matches
        if match and int(match[1]) == number
    }


def import_path() -> dict[str, str]:
    """``PYTHONPATH`` for a process that must import this Crucible, from wherever it is started.

    Needed when it runs from its source tree without being installed.
    """
    root = Path(crucible.__file__).parent.parent
    if root == Path(sysconfig.get_path("purelib")):
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}


_KEEP_ALIVE_S = 3600
"""Longer than any client keeps an idle connection: a server that hangs up first breaks the next request."""


DATABASE = "prefect.db"
"""In Prefect's folder."""


def prefect_folder(home: Path) -> Path:
    """Where Prefect keeps what it keeps."""
    return home.expanduser().absolute() / "prefect"


def prefect_client_environment(home: Path, prefect_api_url: str) -> dict[str, str]:
    """What a process that runs flows must have in its environment before it imports Prefect.

    The heartbeat is not in it: Prefect cannot be told by environment to send none.
    """
    return {
        **_common(home),
        "PREFECT_API_URL": prefect_api_url,
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
        "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "true",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_TASKS_DEFAULT_NO_CACHE": "true",
    }


def prefect_server_environment(home: Path, port: int) -> dict[str, str]:
    """What the Prefect server of this stack has in its environment.

    Runs and events are written in batches, at least once a second: row by row they keep SQLite locked.
    The catalogue of block types is not loaded: it takes a new home two seconds, and a client that saves a
    block registers its type.
    """
    return {
        **_common(home),
        "PREFECT_API_URL": f"http://{LOOPBACK}:{port}/prefect/api",
        "PREFECT_SERVER_API_BASE_PATH": "/prefect/api",
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_KEEPALIVE_TIMEOUT": str(_KEEP_ALIVE_S),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{prefect_folder(home) / DATABASE}",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "false",
        "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "true",
        "PREFECT_SERVER_UI_SERVE_BASE": "/prefect",
        # Without a host: pages work at the server's own port, and behind the gateway wherever that is.
        "PREFECT_SERVER_UI_API_URL": "/prefect/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(prefect_folder(home) / "ui"),
    }


def _common(home: Path) -> dict[str, str]:
    folder = prefect_folder(home)
    return {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILE": "local",
        "PREFECT_PROFILES_PATH": str(folder / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
