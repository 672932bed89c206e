"""MBPP: a Python solution and assertions on it."""

from crucible.importers.records import Record, Skipped
from crucible.models import Evaluation, Expectation, Outcome

SOURCE = "MBPP (google-research), CC-BY-4.0"


def convert(record: Record) -> Evaluation | Skipped:
    """The solution with all its assertions, the challenging ones last.

    Nothing is expected of standard output: some solutions print.
    """
    parts = (
        record.text("test_setup_code", default=""),
        record.text("code"),
        *record.texts("test_list"),
        *record.texts("challenge_test_list", default=()),
    )
    return record.evaluation(
        id=f"mbpp/{record.whole_number('task_id')}",
        language="python",
        code="\n".join(part for part in parts if part) + "\n",
        tags=("mbpp", "canonical"),
        expect=Expectation(exit_code=0, outcome=(Outcome.OK,), deterministic=True),
        source=SOURCE,
    )
