"""benchmark_track.py: every row and number of a tiny run, and what keeps its arms honest."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from stpn.errors import InputError

SCRIPTS = Path(__file__).parents[1] / "projects" / "STPN"
CONFIGS = SCRIPTS.parents[1] / "configs"
TINY = ["--small", "--device", "cpu", "--size", "96x128", "--threads", "1"]
# Support rounds and template rounds of two frames.
SETTINGS = ["INPUT.SUPPORT.STRIDE", "2", "INPUT.SUPPORT.FRAMES_PER_SIDE", "1", "TEST.TRACKING.UPDATE_INTERVAL", "2",
            "TEST.TRACKING.ONLINE_TEMPLATES", "1", "MODEL.CVT.WIDTHS", "[16, 32, 64]", "MODEL.CVT.DEPTHS", "[1, 1, 1]",
            "INPUT.TRACKING.SEARCH_SIZE", "64", "INPUT.TRACKING.TEMPLATE_SIZE", "32", "MODEL.MIXFORMER.HEAD_DIM", "16"]


@pytest.fixture
def script(monkeypatch):
    """script(name) -> the module of that name in projects/STPN."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    before = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(before)


def tiny(script, *opts):
    """-> benchmark_track, its arguments, and the model."""
    benchmark = script("benchmark_track")
    args = benchmark.parse_arguments([*TINY, *SETTINGS, *opts])
    return benchmark, args, benchmark.build(benchmark.configure(args))


def frames(script, count):
    arms = script("benchmark_track_arms")
    return arms.noise_frames(count, (96, 128)), arms.target((96, 128))


@pytest.mark.parametrize("compare, names", [
    ("resize", ["STPN, full supports", "STPN, half supports"]), ("supports", ["STPN, K 1", "STPN, K 2"]),
    ("source", ["STPN, memory", "STPN, prompted_memory", "STPN, templates"]),
    ("anchor", ["STPN, grid", "STPN, sliding"])])
def test_every_comparison_has_its_rows_with_a_control(compare, names, script, tmp_path, capsys):
    script("benchmark_track").main([*TINY, "--pairs", "1", "--compare", compare, "--supports", "1", "2", "--output",
                                    str(tmp_path / "a.json"), *SETTINGS])
    report = json.loads((tmp_path / "a.json").read_text())
    assert [(row["candidate"], row["baseline"]) for row in report["rows"]] == [(name, "un-prompted") for name in names]
    assert all(row["fps"] > 0 and row["control"]["ratio"] > 0 for row in report["rows"])
    assert set(report["prompted_minus_unprompted"]) == set(names) and report["machine"]["threads"] == 1
    assert f"STPN {report['parameters']['STPN'] / 1e6:.2f}M" in capsys.readouterr().out


def test_parameters_are_those_of_the_whole_models(script):
    benchmark, _, model = tiny(script)
    counts = benchmark.parameters(model)
    assert counts["STPN"] == sum(p.numel() for p in model.parameters())
    assert counts["baseline"] == sum(p.numel() for p in benchmark.variant(model, prompt_predictor=None).parameters())


def test_a_measurement_holds_whole_rounds_and_begins_when_supports_and_templates_are_there(script, monkeypatch):
    benchmark, args, model = tiny(script, "INPUT.SUPPORT.STRIDE", "3", "TEST.TRACKING.ONLINE_TEMPLATES", "4")
    done = []
    monkeypatch.setattr(benchmark, "check", lambda *_: 1.0)
    monkeypatch.setattr(benchmark, "interleave", lambda *_, **__: {})
    monkeypatch.setattr(benchmark, "rows", lambda *_: [])
    monkeypatch.setattr(benchmark, "group", lambda models, items, box: done.append(len(items)))
    monkeypatch.setattr(benchmark, "warm_up", lambda group, passes: done.append(passes))
    benchmark.measure_speed(args, model)
    assert done == [6, 9]  # of 3 and 2; 4 templates every 2 frames, after frame 0


@pytest.mark.parametrize("changes, passes", [
    ({}, 4), ({"support_source": "prompted_memory"}, 1), ({"support_source": "templates"}, 0),
    ({"sampler": {"anchor": "sliding"}}, 7)])
def test_check_counts_the_support_passes_of_seven_frames(changes, passes, script):
    benchmark, _, model = tiny(script)
    items, box = frames(script, 7)
    other = benchmark.variant(model, **changes)
    with torch.inference_mode():
        assert benchmark.check(other, items, box) > 1e-3
        with pytest.raises(AssertionError, match=f"{passes} support passes, not {passes + 1}"):
            script("benchmark_track_arms").walked(other, items, box, passes + 1)


def test_check_sees_templates_that_are_not_updated(script, monkeypatch):
    benchmark, _, model = tiny(script)
    monkeypatch.setattr(script("benchmark_track_arms").tracker_memory.OnlineTemplates, "see", lambda *_: None)
    with torch.inference_mode(), pytest.raises(AssertionError, match="templates were encoded 1 times, not 4"):
        benchmark.check(model, *frames(script, 7))


class Silent(torch.nn.Module):
    def forward(self, support):
        return None


def test_check_sees_prompts_that_do_nothing(script):
    benchmark, _, model = tiny(script)
    with torch.inference_mode(), pytest.raises(AssertionError, match="next to nothing"):
        benchmark.check(benchmark.variant(model, prompt_predictor=Silent()), *frames(script, 5))


def test_the_search_region_keeps_its_size_over_a_thousand_frames(script):
    benchmark, _, model = tiny(script)
    tracker, (items, box) = model.tracker(), frames(script, 1)
    with torch.inference_mode():
        tracker.initialize(items[0]["frame"].image, box)
        feature = torch.zeros(1, 64, 4, 4)
        corners = model.box_head(feature)[0].tolist()
        sides = set()
        for _ in range(1000):
            _, scale = tracker._search_region(items[0]["frame"].image)
            tracker._box = tracker._placed(corners, scale)
            sides.add(round(64 / scale))
    assert len(sides) == 1


def test_memory_of_both_lengths_is_told(script, tmp_path, capsys):
    script("benchmark_track").main([*TINY, "--memory", "--memory-frames", "4", "2", "--output",
                                    str(tmp_path / "a.json"), *SETTINGS])
    report = json.loads((tmp_path / "a.json").read_text())
    held = report["memory_mb"]
    assert list(held) == ["2", "4"] and 50 < held["2"] and report["peak_mb"] >= 0.9 * held["4"]
    assert report["memory_ratio"] == held["4"] / held["2"] and "MB after 4 frames; ratio" in capsys.readouterr().out


@pytest.mark.parametrize("opts", [["MODEL.STPN.ENABLED", "False"], ["MODEL.MIXFORMER.SCORE_HEAD", "False",
                                                                     "MODEL.MIXFORMER.STAGE", "box"],
                                  ["--config-file", str(CONFIGS / "toy" / "stpn.yaml")]])
def test_other_configurations_are_refused(script, opts):
    benchmark = script("benchmark_track")
    with pytest.raises(InputError, match="name an STPN configuration of a tracker with a score head"):
        benchmark.build(benchmark.configure(benchmark.parse_arguments(["--small", "--device", "cpu", *opts])))
