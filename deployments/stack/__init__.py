"""The local stack: every process Crucible needs on one machine, started, kept running and stopped together.

Nothing of it outlives the process that started it.
"""

from deployments.stack.attach import attach, start_detached, stop_stack
from deployments.stack.home import Home
from deployments.stack.prefect_environment import prefect_client_environment
from deployments.stack.running import running_stack, serve_stack
from deployments.stack.state import ServiceState, ServiceStatus, StackState, read_state

__all__ = [
    "Home",
    "ServiceState",
    "ServiceStatus",
    "StackState",
    "attach",
    "prefect_client_environment",
    "read_state",
    "running_stack",
    "serve_stack",
    "start_detached",
    "stop_stack",
]
