"""Where faults are planted, and which tests look for them."""

import re
from pathlib import Path

AREAS = {
    "comparison": ("crucible/compare.py", "crucible/normalise/*.py"),
    "confirmation": (
        "crucible/confirm.py",
        "crucible/verdict.py",
        "flows/confirm.py",
    ),
    "evidence": ("crucible/evidence/*.py",),
    "rollout": ("crucible/rollout/*.py", "crucible/store/rollout*.py", "crucible/store/settlement.py"),
    "claims": ("tasks/claims.py", "tasks/replies.py", "tasks/legacy_leg/[cpq]*.py"),
    "dispatch": (
        *("tasks/dispatch.py", "tasks/exchange.py", "tasks/batch.py", "tasks/settler.py"),
        "tasks/cancellation.py",
    ),
    "store": ("crucible/store/*.py",),
    "api": ("api/*.py", "api/routes/*.py", "api/dashboard/session.py", "api/dashboard/forms.py"),
}
"""The modules of each area; one that matches several belongs to the first."""

LEFT_OUT = re.compile(
    r"api/(__main__|app|wiring|janitor|confirmer|standing|readiness|pruner|telling|server|options|openapi|figures"
    r"|routes/trace|routes/health)\.py|crucible/store/spans\.py|.*/__init__\.py"
    r"|(.*\.)?(__init__|__repr__|open|close|run|_run|_write|_watch|_hear|_stopped|_read)"
)
"""Modules and functions without faults: processes' start, background loops, descriptions for readers."""

QUICK = (("tests/unit", "tests/fundamentals"), ("tests/contract",))
"""What runs once to learn which test executes which line; each group in a tree of its own."""

STACK = (
    *("tests/integration/test_api.py", "tests/integration/test_sweep_finds.py"),
    *("tests/integration/test_cancellation.py", "tests/integration/test_cli_rollout.py"),
    *("tests/integration/test_taken_over.py", "tests/integration/test_cli_store.py"),
)
"""Tests of a whole stack, for faults that nothing quicker executes or sees."""

NOT_RUN = (
    "tests/contract/sandbox",
    *(f"tests/unit/{each}" for each in ("bench", "deployments", "executors", "monitoring", "stack")),
)
"""Tests that need Docker, or are about none of these areas."""


def modules(root: Path) -> dict[str, list[str]]:
    """The modules of each area that exist under ``root``, as paths relative to it."""
    found: dict[str, list[str]] = {}
    for area, patterns in AREAS.items():
        paths = {path.relative_to(root).as_posix() for each in patterns for path in root.glob(each)}
        taken = {path for others in found.values() for path in others}
        found[area] = sorted(path for path in paths - taken if not LEFT_OUT.fullmatch(path))
    return found
