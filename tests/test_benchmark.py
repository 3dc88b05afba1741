"""benchmark.py: the order and the arithmetic of the comparison with a clock that is told the time, and a run."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from stpn.errors import InputError

SCRIPTS = Path(__file__).parents[1] / "projects" / "STPN"
TOY = str(SCRIPTS.parents[1] / "configs" / "toy" / "stpn.yaml")
# One support frame a frame on both sides: a support cycle of one frame.
TINY = ["INPUT.SUPPORT.STRIDE", "1", "INPUT.SUPPORT.FRAMES_PER_SIDE", "1", "MODEL.SWIN.DEPTHS", "[1, 1, 1, 1]"]


@pytest.fixture
def script(monkeypatch):
    """script(name) -> the module of that name in projects/STPN."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


@pytest.fixture
def timing(script):
    return script("stpn.study.timing")


class Stopwatch:
    """A timer that runs the work, notes its name, and says what it was told."""

    def __init__(self, seconds):
        self.seconds, self.order = seconds, []

    def __call__(self, work):
        name = work()
        self.order.append(name)
        said = self.seconds[name]
        return said.pop(0) if isinstance(said, list) else said


def group_of(timing, *candidates):
    def arm(name):
        return timing.Arm(name, ((lambda: name, 1.0),))

    return timing.Group("part", arm("A"), tuple(map(arm, candidates)))


@pytest.mark.parametrize("pairs, order", [
    (4, "A B B A A A A A  A B B A A A A A"), (3, "A B B A A A A A  A B A A"), (1, "A B A A")])
def test_baseline_and_candidate_take_turns_and_the_control_is_in_every_round(timing, pairs, order):
    watch = Stopwatch({"A": 1.0, "B": 2.0})
    times = timing.interleave(group_of(timing, "B"), pairs=pairs, timer=watch)
    assert watch.order == order.split()
    assert {name: len(found) for name, found in times.items()} == {"B": pairs, timing.CONTROL: pairs}


def test_pairs_hold_the_neighbours_in_time_baseline_first(timing):
    watch = Stopwatch({"A": [1.0, 4.0] + [1.0] * 4, "B": [2.0, 3.0]})
    assert timing.interleave(group_of(timing, "B"), pairs=2, timer=watch)["B"] == [(1.0, 2.0), (4.0, 3.0)]


def test_every_candidate_has_its_own_baseline_measurements(timing):
    watch = Stopwatch({"A": 1.0, "B": 2.0, "C": 4.0})
    times = timing.interleave(group_of(timing, "B", "C"), pairs=2, timer=watch)
    assert watch.order == "A B B A A C C A A A A A".split()
    assert times["C"] == [(1.0, 4.0)] * 2


def test_a_slow_machine_that_slows_both_leaves_the_ratio(timing):
    # In each round A is timed twice beside B and four times in the control.
    watch = Stopwatch({"A": [1.0] * 6 + [5.0] * 6, "B": [2.0] * 2 + [10.0] * 2})
    found = timing.rows(group_of(timing, "B"), timing.interleave(group_of(timing, "B"), pairs=4, timer=watch))
    assert found[0]["ratio"] == 0.5 and found[0]["control"]["ratio"] == 1.0 and found[0]["judged"]


def test_parts_are_weighted_to_seconds_a_frame(timing):
    watch = Stopwatch({"start": 10.0, "rest": 8.0, "A": 1.0})
    parts = ((lambda: "start", 1 / 100), (lambda: "rest", 99 / 100 / 4))
    group = timing.Group("part", timing.Arm("A", ((lambda: "A", 1.0),)), (timing.Arm("video", parts),))
    (pair,) = timing.interleave(group, pairs=1, timer=watch)["video"]
    assert pair == (1.0, pytest.approx((10 + 99 * 2) / 100))


def test_summary_is_the_median_of_pair_ratios_not_the_ratio_of_medians(timing):
    found = timing.summary([(1.0, 2.0), (6.0, 3.0), (4.0, 4.0), (9.0, 1.0)])
    assert found["ratio"] == 1.5 and found["quartiles"] == [0.875, 3.75]  # of 0.5, 1, 2, 9
    assert found["best"] == 1.0  # 1 against 1
    assert found["baseline_fps"] == 0.2 and found["fps"] == 0.4


def row(timing, control):
    times = {"B": [(1.0, 2.0)] * 3, timing.CONTROL: [(control, 1.0)] * 3}
    return timing.rows(group_of(timing, "B"), times)


def test_table_has_a_line_for_each_row_and_says_that_it_can_be_judged(timing):
    text = timing.table(row(timing, 1.019))
    line = next(line for line in text.splitlines() if line.startswith("part"))
    assert line.split()[1:] == "B A 0.500 1.000 0.500 0.500 to 0.500 0.500 1.019 1.019 to 1.019".split()
    assert "can be judged" in text and "noisy" not in text


@pytest.mark.parametrize("control", [0.97, 1.03])
def test_table_says_when_the_control_is_off(timing, control):
    text = timing.table(row(timing, control))
    assert "Machine too noisy to judge" in text and f"part, A: {control:.3f}" in text


def test_warm_up_does_at_least_the_frames_asked_for(timing):
    done = []
    group = timing.Group("part", timing.Arm("A", ((lambda: done.append(4), 1 / 4),)), ())
    timing.warm_up(group, passes=10)
    assert sum(done) == 12


@pytest.mark.parametrize("device, threads", [("cpu", 2), ("cuda", 1)])
def test_processor_time_is_refused_where_waiting_counts_as_work(timing, device, threads):
    with pytest.raises(InputError, match="--threads 1"):
        timing.make_timer("cpu", device, threads)


def test_timers_tell_the_time(timing):
    for clock in timing.CLOCKS:
        assert 0 < timing.make_timer(clock, "cpu", 1)(lambda: sum(range(100_000))) < 10


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_a_tiny_run_writes_every_row(script, threads, tmp_path, capsys):
    script("benchmark").main([
        "--config-file", TOY, "--device", "cpu", "--size", "64x64", "--pairs", "1", "--cycles", "2", "--warm-up",
        "1", "--threads", str(threads), "--video-length", "5", "--output", str(tmp_path / "speed.json"), *TINY])
    report = json.loads((tmp_path / "speed.json").read_text())
    found = [(row["part"], row["candidate"], row["baseline"]) for row in report["rows"]]
    assert len(set(found)) == len(found) == 14
    assert ("detector", "STPN, half supports", "un-prompted") in found
    assert ("backbone", "un-prompted", "detectron2 Swin") in found
    assert report["checks"]["unprompted_minus_stock"] < 1e-5
    text = capsys.readouterr().out
    assert sum(line.startswith(("backbone", "detector")) for line in text.splitlines()) == 14


def test_memory_is_read_at_the_frames_asked_for(script, threads, capsys):
    script("benchmark").main(["--memory", "--device", "cpu", "--memory-frames", "2", "4", "--threads", str(threads),
                              "--size", "64x64", *TINY, "INPUT.MIN_SIZE_TEST", "64"])
    text = capsys.readouterr().out
    assert text.startswith("memory: ") and "after 2 frames" in text and "after 4 frames; ratio " in text


def test_a_baseline_config_is_refused(script, threads):
    with pytest.raises(InputError, match="name the STPN config"):
        script("benchmark").main(["--config-file", TOY, "--threads", str(threads), "MODEL.STPN.ENABLED", "False"])


def test_checks_catch_a_stream_that_uses_other_prompts(script):
    arms, checks, benchmark = map(script, ("benchmark_arms", "benchmark_checks", "benchmark"))
    _, model = benchmark.build(benchmark.parse_arguments(["--config-file", TOY, "--device", "cpu", *TINY]))
    items, grid = arms.random_frames(3, (64, 64)), model.sampler.with_policy("grid")
    with torch.inference_mode():
        checks.check_stream(model, grid, items)
        model._predict_prompts = lambda support: tuple(2 * p for p in model.prompt_predictor(support))
        with pytest.raises(AssertionError, match="prompts of frame 0"):
            checks.check_stream(model, grid, items)


def test_stock_swin_shares_the_weights_and_refuses_prompts(script):
    arms, benchmark = script("benchmark_arms"), script("benchmark")
    cfg, model = benchmark.build(benchmark.parse_arguments(["--config-file", TOY, "--device", "cpu", *TINY]))
    stock = arms.StockSwin(cfg, model.backbone)
    ours = {name: p.data_ptr() for name, p in model.backbone.named_parameters()}
    assert {name: p.data_ptr() for name, p in stock.swin.named_parameters()} == ours
    with pytest.raises(ValueError, match="takes no prompts"):
        stock(torch.zeros(1, 3, 64, 64), prompts=[torch.zeros(1, 5, 24)])


SELSA = str(SCRIPTS.parents[1] / "configs" / "toy" / "stpn_selsa.yaml")


@pytest.mark.parametrize("prompts", ["True", "False"])
def test_selsa_benchmark_compares_kept_support_with_support_made_again(script, threads, tmp_path, prompts):
    report = tmp_path / "selsa.json"
    script("benchmark_selsa").main([
        "--config-file", SELSA, "--device", "cpu", "--threads", str(threads), "--size", "64x64", "--pairs", "1",
        "--video-length", "5", "--output", str(report), *TINY, "INPUT.SELSA.FRAMES_PER_SIDE", "1",
        "MODEL.STPN.ENABLED", prompts])
    found = json.loads(report.read_text())
    assert found["difference"] < 1e-4
    assert {(row["part"], row["candidate"]) for row in found["rows"]} == {
        ("head", "from proposals"), ("detector", "kept, whole video"), ("detector", "from feature maps"),
        ("detector", "from frames")}
    assert all(row["fps"] > 0 for row in found["rows"])


def test_selsa_benchmark_refuses_another_detector(script, threads):
    with pytest.raises(InputError, match="name a SELSA configuration"):
        script("benchmark_selsa").main(["--config-file", TOY, "--threads", str(threads), "--device", "cpu"])
