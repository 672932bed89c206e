"""The arithmetic of the benchmark: what a figure and a ratio mean."""

import pytest

from bench.figures import ContenderName, Figures, Measured, Ratio, ratios, spread


def measured(
    contender: ContenderName = "sweep",
    *,
    evaluations: int = 100,
    seconds: float = 10.0,
    cpu_s: float = 5.0,
    programs_cpu_s: float = 3.0,
    client_peak_mb: float = 100.0,
) -> Measured:
    return Measured(
        contender=contender,
        evaluations=evaluations,
        seconds=seconds,
        cpu_s={"client": cpu_s / 2, "executor-1": cpu_s / 2},
        programs_cpu_s=programs_cpu_s,
        machine_cpu_s=cpu_s * 2,
        peak_mb=500.0,
        client_peak_mb=client_peak_mb,
    )


def figures(sizes: dict[int, list[Measured]]) -> Figures:
    return Figures(
        algorithms={
            "bare": [measured("bare", seconds=4.0)],
            "chord": [measured("chord", seconds=10.0)],
            "sweep": [measured(seconds=5.0), measured(seconds=8.0), measured(seconds=5.0)],
        },
        nothing={"chord": [measured("chord", cpu_s=7.0)], "sweep": [measured(cpu_s=5.0)]},
        sizes=sizes,
    )


def test_a_run_tells_pace_and_cost_of_one_evaluation():
    run = measured()
    assert run.per_second == 10.0
    assert run.cpu_ms == pytest.approx(50.0)
    assert run.beyond_ms == pytest.approx(20.0)


def test_repetitions_are_summed_up_by_median_and_range():
    found = spread([measured(seconds=s) for s in (10.0, 5.0, 20.0)], lambda run: run.per_second)
    assert (found.median, found.lowest, found.highest) == (10.0, 5.0, 20.0)


def test_ratios_are_of_medians_so_one_disturbed_round_does_not_count():
    bare, _, chord, _, beyond = ratios(figures({}))
    assert bare.value == pytest.approx(4.0 / 5.0)
    assert chord.value == pytest.approx(10.0 / 5.0)
    assert beyond.value == pytest.approx(20.0 / 40.0)


def test_growth_compares_the_largest_size_with_five_hundred():
    sizes = {
        100: [measured(evaluations=100, seconds=99.0)],
        500: [measured(evaluations=500, seconds=10.0, cpu_s=25.0, programs_cpu_s=15.0)],
        5000: [
            measured(evaluations=5000, seconds=110.0, cpu_s=260.0, programs_cpu_s=150.0, client_peak_mb=105.0)
        ],
    }
    time, cpu, memory = ratios(figures(sizes))[5:]
    assert time.value == pytest.approx(1.1)
    assert cpu.value == pytest.approx(22.0 / 20.0)
    assert memory.value == pytest.approx(1.05)
    assert all("5,000" in each.name for each in (time, cpu, memory))


def test_evaluations_per_cpu_second_do_not_depend_on_time_lost_to_others():
    by_cpu = {each.name: each for each in ratios(figures({}))}["sweep / chord, evaluations per CPU second"]
    assert by_cpu.value == pytest.approx(1.0)
    assert by_cpu.is_met is None


def test_what_others_took_is_the_rest_of_the_machine():
    assert figures({500: [measured()]}).others_share == pytest.approx(0.5)


@pytest.mark.parametrize("sizes", [{}, {100: [measured()]}, {500: [measured(evaluations=500)]}])
def test_growth_is_left_out_where_it_was_not_measured(sizes: dict[int, list[Measured]]):
    assert len(ratios(figures(sizes))) == 5


@pytest.mark.parametrize(
    ("bound", "value", "met"),
    [
        ("at least", 0.5, True),
        ("at least", 0.49, False),
        ("at most", 0.5, True),
        ("at most", 0.51, False),
    ],
)
def test_a_target_is_met_from_its_very_value_on(bound, value, met):
    assert Ratio("", value, bound, target=0.5).is_met is met
