"""An API process, or a controller, of one's own beside a stack's: to be stopped, killed or set wrongly."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from deployments.stack import StackState, prefect_client_environment
from tests.support.valkey import free_port

ROOT = Path(__file__).parents[2]
READY_LINE = "CRUCIBLE_READY"
_PATIENCE_S = 240


def environment_of(stack: StackState, home: Path) -> dict[str, str]:
    """What the API is told so that it works with ``stack``, on a port of its own."""
    urls = {f"CRUCIBLE_EXECUTOR_{number}_URL": url for number, url in enumerate(stack.executor_urls, 1)}
    return {
        **prefect_client_environment(home, stack.prefect_api_url),
        **urls,
        "CRUCIBLE_API_PORT": str(free_port()),
        "CRUCIBLE_API_KEY": stack.api_key,
        "CRUCIBLE_DATABASE_URL": stack.database_url,
        "CRUCIBLE_REDIS_URL": stack.redis_url,
        "CRUCIBLE_CELERY_REDIS_URL": stack.celery_redis_url,
        "CRUCIBLE_PREFECT_API_URL": stack.prefect_api_url,
        "CRUCIBLE_EXECUTOR_TOKEN": stack.executor_token,
    }


class ProcessBeside:
    """``python -m {module}`` with an environment."""

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_until_ready(self) -> None:
        """Reads its output up to the line that says so."""
        assert self._process.stdout is not None
        seen = []
        for line in self._process.stdout:
            if line.strip() == READY_LINE:
                return
            seen.append(line)
        raise AssertionError(f"it ended before it was ready: {''.join(seen)}")

    def kill(self) -> None:
        """Without a chance to say anything."""
        self._process.kill()

    def terminate(self) -> None:
        """As the stack does when it stops."""
        self._process.send_signal(signal.SIGTERM)

    def ended(self) -> tuple[int, str]:
        """Exit code, and what it printed since it was ready."""
        output, _ = self._process.communicate(timeout=_PATIENCE_S)
        return self._process.returncode, output

    def close(self) -> None:
        """Ends it, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


class ApiProcess(ProcessBeside):
    """An API. ``client`` shows its key."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__("api", environment)
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{environment['CRUCIBLE_API_PORT']}",
            headers={"Authorization": f"Bearer {environment['CRUCIBLE_API_KEY']}"},
            timeout=_PATIENCE_S,
        )

    def close(self) -> None:
        """As ``ProcessBeside``."""
        self.client.close()
        super().close()
