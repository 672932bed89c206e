"""The local stack: every process Crucible needs on one machine, started, kept running and stopped together.

Nothing of it outlives the process that started it.
"""

from deployments.stack.environment import prefect_client_environment
from deployments.stack.home import Home, ServiceState, ServiceStatus, StackState, read_state
from deployments.stack.running import attach, running_stack, serve_stack, start_detached, stop_stack

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
