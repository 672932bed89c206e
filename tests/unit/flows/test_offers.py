"""What runs of deployments are called."""

from flows.serving import name_of_evaluation, name_of_rollout, name_of_sweep


def test_a_program_is_called_by_its_language_and_the_same_each_time() -> None:
    first, again, other = (name_of_evaluation({"language": "go", "code": each}) for each in ("a", "a", "b"))
    assert first == again != other
    assert first.startswith("go program ")
    assert name_of_evaluation({"language": "go", "code": "\ud800"}).startswith("go program ")


def test_a_sweep_is_called_by_what_it_sweeps() -> None:
    assert name_of_sweep({"corpora": ["bundled", "/a/b/night.jsonl"]}) == "parity of bundled and night"
    assert name_of_sweep({"corpora": [], "recorded": 500}) == "parity of 500 recorded"
    assert name_of_sweep({}) == "parity of nothing"


def test_a_rollout_is_called_by_where_it_leads() -> None:
    assert name_of_rollout({"until": "canary"}) == "rollout until canary"
