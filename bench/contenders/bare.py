"""The bare limit: every program twice, straight with the interpreter, as many at once as there are cores.

No sandbox, so for the bench's own programs only. The interpreter is the one that executors use, in a
virtual environment with nothing in it: as in the sandbox, it looks for installed packages and finds none.
"""

import os
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.child import Orders
from crucible.corpus import read
from crucible.errors import PlatformError

_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "SOURCE_DATE_EPOCH": "0",
}


def run_once(interpreter: Path, program: Path) -> float:
    """Run one program to its end and return the CPU seconds it took."""
    nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    argv = [str(interpreter), str(program)]
    pid = os.posix_spawn(argv[0], argv, {**_ENVIRONMENT, "HOME": str(program.parent)}, file_actions=nowhere)
    _, status, used = os.wait4(pid, 0)
    if status:
        raise PlatformError(f"{program.name} ended with wait status {status}; it must end well")
    return used.ru_utime + used.ru_stime


def run_all(interpreter: Path, corpus: Path, folder: Path) -> dict[str, float]:
    """Run a corpus; seconds of wall time and the programs' CPU seconds."""
    programs = [_written(line.evaluation.code, folder) for line in read(corpus)]
    cores = len(os.sched_getaffinity(0))
    started = time.monotonic()
    with ThreadPoolExecutor(cores) as pool:
        used = sum(pool.map(lambda program: run_once(interpreter, program), [*programs, *programs]))
    return {"seconds": time.monotonic() - started, "programs_cpu_s": used}


def _written(code: str, folder: Path) -> Path:
    program = folder / f"{sha256(code.encode()).hexdigest()[:16]}.py"
    if not program.exists():
        program.write_text(code)
    return program


def _empty_environment(folder: Path) -> Path:
    """An interpreter like the sandbox's: no packages, and no start-up hooks of theirs."""
    builder = venv.EnvBuilder(with_pip=False, symlinks=True)
    builder.create(folder)
    return folder / "bin" / "python3"


def main() -> None:
    """Answer orders ``{"corpus"}`` until there are no more."""
    orders = Orders()
    with TemporaryDirectory(prefix="crucible-bench-") as folder:
        interpreter = _empty_environment(Path(folder) / "venv")
        for order in orders:
            orders.answer(run_all(interpreter, Path(order["corpus"]), Path(folder)))


if __name__ == "__main__":
    main()
