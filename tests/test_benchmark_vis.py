"""benchmark_vis.py: every row and number of a tiny run, and what keeps its arms honest."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from stpn.errors import InputError

SCRIPTS = Path(__file__).parents[1] / "projects" / "STPN"
TINY = ["--small", "--device", "cpu", "--size", "64x64"]
# Support cycles of two frames in windows of two.
SETTINGS = ["INPUT.SUPPORT.STRIDE", "2", "INPUT.SUPPORT.FRAMES_PER_SIDE", "1", "MODEL.SWIN.DEPTHS", "[1, 1, 1, 1]",
            "TEST.WINDOW_SIZE", "2"]


@pytest.fixture
def script(monkeypatch):
    """script(name) -> the module of that name in projects/STPN."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    before = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(before)


def run(script, tmp_path, *arguments):
    script("benchmark_vis").main([*TINY, "--threads", "1", "--output", str(tmp_path / "a.json"), *arguments, *SETTINGS])
    return json.loads((tmp_path / "a.json").read_text())


def tiny_model(script, *opts):
    benchmark = script("benchmark_vis")
    return benchmark, benchmark.build(benchmark.configure(benchmark.parse_arguments([*TINY, *SETTINGS, *opts])))


def test_speed_has_a_row_for_full_and_half_supports_with_a_control(script, tmp_path, capsys):
    report = run(script, tmp_path, "--pairs", "1")
    assert [(row["candidate"], row["baseline"]) for row in report["rows"]] == [
        ("STPN, full supports", "un-prompted"), ("STPN, half supports", "un-prompted")]
    assert all(row["fps"] > 0 and row["control"]["ratio"] > 0 for row in report["rows"])
    counts = report["parameters"]
    assert counts["STPN"] - counts["baseline"] == counts["prompt_predictor"] > 0
    text = capsys.readouterr().out
    assert f"STPN {counts['STPN'] / 1e6:.2f}M" in text and text.count("un-prompted") >= 2


def test_parameters_are_those_of_the_whole_models(script):
    benchmark, model = tiny_model(script)
    counts, plain = benchmark.parameters(model), benchmark.variant(model, prompt_predictor=None)
    assert counts["STPN"] == sum(p.numel() for p in model.parameters())
    assert counts["baseline"] == sum(p.numel() for p in plain.parameters())


def test_a_measurement_holds_whole_support_cycles_and_whole_windows(script, monkeypatch):
    benchmark, model = tiny_model(script, "INPUT.SUPPORT.STRIDE", "3")
    lengths = []
    monkeypatch.setattr(benchmark, "check", lambda model, items: lengths.append(len(items)))
    monkeypatch.setattr(benchmark, "interleave", lambda *_, **__: {})
    monkeypatch.setattr(benchmark, "warm_up", lambda *_: None)
    monkeypatch.setattr(benchmark, "rows", lambda *_: [])
    benchmark.measure_speed(benchmark.parse_arguments([*TINY, "--cycles", "2"]), model)
    assert lengths == [12]


def test_check_sees_prompts_that_do_nothing(script):
    benchmark, model = tiny_model(script)
    items = benchmark.random_frames(4, (64, 64))
    with torch.inference_mode():
        assert benchmark.check(model, items) > 1e-3
        model._predict_prompts = lambda support: None
        with pytest.raises(AssertionError, match="next to nothing"):
            benchmark.check(model, items)


def test_check_counts_the_support_passes(script):
    benchmark, model = tiny_model(script)
    prompted = model.prompted
    model.prompted = lambda frames, sampler: prompted(frames, sampler.with_policy("sliding"))
    with torch.inference_mode(), pytest.raises(AssertionError, match="4 support passes for 4 frames, not 2"):
        benchmark.check(model, benchmark.random_frames(4, (64, 64)))


def test_memory_of_both_lengths_and_the_size_of_their_results_are_told(script, tmp_path, capsys, monkeypatch):
    def here(cfg, *, counts, **settings):  # in this process: a new one takes seconds
        return {count: script("benchmark_segment").segment_once(cfg, count, **settings) for count in counts}

    monkeypatch.setattr(script("benchmark_vis"), "measure_memory", here)
    found = run(script, tmp_path, "--memory", "--memory-frames", "3", "2")["memory"]
    assert list(found) == ["2", "3"] and 0 < found["2"]["results"] < found["3"]["results"]
    assert "peak without results, 3 frames to 2: " in capsys.readouterr().out


def test_memory_is_that_of_a_process_of_its_own(script):
    mine = bytearray(400 * 2**20)
    mine[::4096] = b"x" * len(mine[::4096])  # pages that are really taken
    benchmark = script("benchmark_vis")
    cfg = benchmark.configure(benchmark.parse_arguments([*TINY, *SETTINGS]))
    (held,) = script("benchmark_segment").measure_memory(cfg, counts=[2], size=(64, 64), threads=1).values()
    assert 100 < held["before"] <= held["peak"] < script("benchmark_segment").most_held() - 200


def test_memory_ratio_leaves_the_results_out(script):
    text = script("benchmark_segment").memory_text({
        500: {"before": 90.0, "peak": 130.0, "results": 20.0}, 50: {"before": 90.0, "peak": 102.0, "results": 2.0}})
    assert text.endswith("500 frames to 50: 1.100") and text.splitlines()[2].split()[0] == "50"


def test_generated_frames_differ_and_can_be_asked_for_again(script):
    video = script("benchmark_segment").MovingPicture(3, (10, 12))
    frames = list(video)
    assert len(frames) == video.length and frames[0]["image"].shape == (3, 10, 12)
    assert (frames[0]["image"] != frames[1]["image"]).any()
    assert (next(iter(video.select([2])))["image"] == frames[2]["image"]).all()


def test_other_configurations_are_refused(script):
    benchmark = script("benchmark_vis")
    for opts in (["MODEL.STPN.ENABLED", "False"], ["--config-file", str(SCRIPTS.parents[1] / "configs/toy/stpn.yaml")]):
        with pytest.raises(InputError, match="name an STPN configuration for video instance segmentation"):
            benchmark.build(benchmark.configure(benchmark.parse_arguments(["--small", "--device", "cpu", *opts])))
