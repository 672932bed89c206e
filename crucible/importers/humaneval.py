"""HumanEval: a prompt, its canonical solution and a test, in Python."""

from crucible.importers.records import Record, Skipped
from crucible.models import Evaluation, Expectation, Outcome

SOURCE = "HumanEval (openai/human-eval), MIT"


def convert(record: Record) -> Evaluation | Skipped:
    """The canonical solution under its test; silent when it passes."""
    data_set, _, number = record.text("task_id").partition("/")
    if data_set != "HumanEval" or not number:
        raise record.fault("task_id", f"is {record.text('task_id')!r}; HumanEval's are like 'HumanEval/0'")
    solution = record.text("prompt") + record.text("canonical_solution")
    check = f"check({record.text('entry_point')})\n"
    return record.evaluation(
        id=f"humaneval/{number}",
        language="python",
        code="\n".join((solution, record.text("test"), check)),
        tags=("humaneval", "canonical"),
        expect=Expectation(exit_code=0, stdout="", outcome=(Outcome.OK,), deterministic=True),
        source=SOURCE,
    )
