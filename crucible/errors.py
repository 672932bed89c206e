"""Every error Crucible raises on purpose, as one tree.

    CrucibleError
    ├── InputError                what the user gave is wrong; nothing was changed (exit 2, HTTP 4xx)
    │   ├── CorpusError           a corpus line does not fit; names file, line and key
    │   └── SettingsError         a setting does not fit, or a folder or port it names cannot be used
    ├── PlatformError             Crucible or a part it needs failed; never a program's fault (exit 4)
    │   ├── SandboxUnavailable    this machine cannot isolate programs the way it was asked to
    │   ├── ExecutorUnavailable   an executor did not answer, or answered with a fault of its own
    │   │   └── ExecutorFault     one attempt failed; the next one may not
    │   ├── ServiceUnavailable    Redis, Prefect, a database or another server is away or at fault
    │   ├── CircuitOpen           a part failed so often that it is left alone for a while
    │   ├── StoreError            the store cannot be opened, or holds what no version of Crucible wrote
    │   ├── StackError            the local stack could not be started or stopped
    │   └── LedgerImbalance       the columns of the ledger do not add up
    ├── GateRefused               the evidence does not allow the step that was asked for (exit 1, HTTP 409)
    ├── RolloutConflict           somebody else changed the rollout in between (exit 1, HTTP 409)
    ├── Cancelled                 somebody cancelled what was asked for (exit 130)
    └── AlreadyRunning            what was asked to start is running already (exit 0: the wish is met)

A message says what was wrong, with the value, and the remedy, in one line.
"""

import time


class CrucibleError(Exception):
    """Base of all errors raised by Crucible; its text is one line a user can act on."""


class InputError(CrucibleError):
    """The caller's input is wrong. The caller's fault; nothing was enqueued or stored."""


class CorpusError(InputError):
    """A corpus line does not fit. ``file``, ``line`` (from 1) and ``key`` say where."""

    def __init__(self, file: str, line: int, key: str, problem: str) -> None:
        self.file, self.line, self.key, self.problem = file, line, key, problem
        where = f"{file}, line {line}" + (f", key {key!r}" if key else "")
        super().__init__(f"{where}: {problem}")


class SettingsError(InputError):
    """A setting has a value that cannot be used. The operator's fault."""


class PlatformError(CrucibleError):
    """Crucible, or a part it stands on, failed. Never the fault of an evaluated program."""


class SandboxUnavailable(PlatformError):
    """Programs cannot be isolated here as asked, so none is run. The machine's or operator's fault."""


class ExecutorUnavailable(PlatformError):
    """An executor could not be reached or failed by itself; the same request may be sent again."""


class ExecutorFault(ExecutorUnavailable):
    """One attempt failed by the fault of ``executor``; the next may not. ``cause`` is a word for metrics.

    ``retry_after_s`` is for how long the executor asked to be left alone; 0 where it did not.
    """

    def __init__(self, executor: str, cause: str, problem: str, retry_after_s: float = 0.0) -> None:
        self.executor, self.cause, self.retry_after_s = executor, cause, retry_after_s
        super().__init__(problem)


class ServiceUnavailable(PlatformError):
    """A server that Crucible needs (Redis, Prefect, the store's database) is away, or answers with an error.

    It is worth another try; the message has the server's words and the remedy.
    """


class CircuitOpen(PlatformError):
    """``dependency`` failed so often that it is not asked now; worth another try in ``retry_in_s`` seconds.

    Nothing was sent to it.
    """

    def __init__(self, dependency: str, retry_in_s: float) -> None:
        self.dependency, self.retry_in_s = dependency, retry_in_s
        until = time.strftime("%H:%M:%S", time.gmtime(time.time() + retry_in_s))
        super().__init__(
            f"{dependency} unavailable: breaker open until {until} UTC; see whether it runs "
            "(`crucible status`, `crucible breakers`)"
        )


class StoreError(PlatformError):
    """The store cannot be opened or migrated, or a row in it cannot be read."""


class StackError(PlatformError):
    """The local stack could not be started, or did not stop."""


class LedgerImbalance(PlatformError):
    """Submitted evaluations are not accounted for in exactly one column each. A defect in Crucible."""


class GateRefused(CrucibleError):
    """The evidence does not allow a step forward. Nobody's fault; nothing was changed.

    ``assessment`` is what the gates said, for those who want to know it all.
    """

    def __init__(self, message: str, assessment: object = None) -> None:
        self.assessment = assessment
        super().__init__(message)


class RolloutConflict(CrucibleError):
    """The rollout is no longer what the caller saw when asking for a change; nothing was changed."""


class Cancelled(CrucibleError):
    """Somebody cancelled what was asked for. Nobody's fault; the ledger says what became of it."""


class AlreadyRunning(CrucibleError):
    """What was asked to start is running already."""
