"""What Crucible uses of Prefect without being promised it is as it was when that was written."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name

import pytest
from prefect.server.database import orm_models
from prefect.workers.base import BaseWorker
from sqlalchemy.ext.hybrid import hybrid_property

from deployments.prefect_private.client import WithoutAnnouncements
from flows.worker import WarmWorker

ROOT = Path(__file__).parents[2]
HOME = "deployments/prefect_private/"
READ = "3.8.8"
"""The version whose source was read for what ``deployments.prefect_private`` relies on."""

WORKER = "prefect.workers.base:BaseWorker"
DATABASE = "prefect.server.database"
NAMES = {
    "prefect.flow_engine:run_flow_async": (
        "(flow, flow_run=None, parameters=None, wait_for=None, return_type='result', context=None)"
    ),
    "prefect.events.worker:EventsWorker.drain_all": "(timeout=None, at_exit=True)",
    f"{WORKER}.run": "(self, flow_run, configuration, task_status=None)",
    f"{WORKER}.get_and_submit_flow_runs": "(self)",
    f"{WORKER}._give_worker_labels_to_flow_run": "(self, flow_run_id)",
    f"{WORKER}._propose_submitting_state": "(self, flow_run)",
    f"{WORKER}._description": "str",
    "prefect.server.api.server:create_app": (
        "(settings=None, ephemeral=False, webserver_only=False, final=False, ignore_cache=False)"
    ),
    f"{DATABASE}:provide_database_interface": "()",
    f"{DATABASE}.interface:PrefectDBInterface.create_db": "(self)",
    f"{DATABASE}.interface:PrefectDBInterface.__init__": ("(self, database_config, query_components, orm)"),
    f"{DATABASE}.interface:PrefectDBInterface.FlowRun": "property",
    f"{DATABASE}.interface:PrefectDBInterface.FlowRunState": "property",
    f"{DATABASE}.configurations:AioSqliteConfiguration.begin_transaction": (
        "(self, session, with_for_update=False)"
    ),
    "prefect:__ui_v2_static_path__": "PosixPath",
}
"""All private names, with their parameters, or their type where they are not called."""

UNDOCUMENTED = re.compile(r"prefect\.(flow_engine|events\.worker|server|_(?!_version__$))")
"""What Prefect's documentation does not tell users to import or read."""

PRODUCT = ("api", "bench", "cli", "crucible", "deployments", "executors", "flows", "tasks")


def described(name: str) -> str:
    """Parameters or type of what has that name now."""
    try:
        found = resolve_name(name)
    except (AttributeError, ImportError) as error:
        return f"gone ({error})"
    if not callable(found):
        return type(found).__name__
    signature = inspect.signature(found)
    bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_a_private_name_is_as_it_was(name: str, expected: str) -> None:
    found = described(name)
    assert found == expected, f"{name} of Prefect {version('prefect')} is {found}; {HOME} expects {expected}"


def test_prefect_is_of_the_version_that_was_read() -> None:
    changed = [name for name, expected in NAMES.items() if described(name) != expected]
    assert version("prefect") == READ, (
        f"Prefect {version('prefect')} is installed, and {HOME} was written for {READ}."
        f" Changed: {changed or 'no name'}. Compare the source of all, and change READ."
    )


def test_the_name_that_has_changed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(BaseWorker, "_propose_submitting_state")
    assert described(f"{WORKER}._propose_submitting_state").startswith("gone (")
    monkeypatch.setattr(BaseWorker, "run", lambda _self, _flow_run: None)
    assert described(f"{WORKER}.run") != NAMES[f"{WORKER}.run"]


def test_the_base_worker_still_calls_what_is_overridden() -> None:
    source, names = inspect.getsource(BaseWorker), overridden_by(WithoutAnnouncements)
    assert {f"{WORKER}.{name}" for name in names} <= NAMES.keys()
    assert [name for name in names if f"self.{name}(" not in source and f"cls.{name}" not in source] == []


def test_there_are_hybrids_to_pass_over() -> None:
    found = [each for model in (orm_models.FlowRun, orm_models.FlowRunState) for each in vars(model).values()]
    assert any(isinstance(each, hybrid_property) for each in found), "pass_over_hybrids can go"


def test_nobody_else_uses_what_is_private() -> None:
    assert overridden_by(WarmWorker) == set()
    files = (path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py"))
    assert [use for path in files for use in private_uses(path)] == []


def overridden_by(subclass: type) -> set[str]:
    """The private members of Prefect's worker that ``subclass`` replaces."""
    return {name for name in vars(subclass).keys() & vars(BaseWorker).keys() if re.match("_(?!_|abc_)", name)}


def private_uses(path: Path) -> Iterator[str]:
    """Where a file outside of the private module imports or reads what is undocumented."""
    file = path.relative_to(ROOT).as_posix()
    if file.startswith(HOME):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"{node.value.id}.{node.attr}"]
        yield from (f"{file}: {name}" for name in names if UNDOCUMENTED.match(name))
