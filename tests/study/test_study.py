"""Studies: files that are refused, jobs that are not run twice, a training that goes on, and the report."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from load_script import load_script
from tiny_toy import TINY, toy_sets

from stpn.data.builtin import ensure_registered
from stpn.engine.trainer import Trainer
from stpn.errors import InputError
from stpn.study.job import Job
from stpn.study.plan import read_study
from stpn.study.report import write_report
from stpn.study.speed import measure_speeds, read_speeds
from stpn.study.summary import summarise

ROOT = Path(__file__).resolve().parents[2]
SHORT = {**TINY, "SOLVER.MAX_ITER": 4, "SOLVER.CHECKPOINT_PERIOD": 2}
ROWS = [
    {"name": "baseline", "config": "configs/toy/baseline.yaml", "baseline": True},
    {"name": "K = 2", "x": 2, "set": {"INPUT.SUPPORT.FRAMES_PER_SIDE": 2}},
    {"name": "K = 1", "x": 1, "set": {"INPUT.SUPPORT.FRAMES_PER_SIDE": 1}, "weights_of": "K = 2"},
    {"name": "another video", "control": "another_video", "weights_of": "K = 2"},
]


@pytest.fixture(scope="module", autouse=True)
def toy(tmp_path_factory):
    with toy_sets(tmp_path_factory.mktemp("datasets"), train=2, val=2) as root:
        ensure_registered(["toy_vid_train", "toy_vid_val"])
        yield root


def study_file(folder, **changes):
    content = {"name": "Support frames", "config": "configs/toy/stpn.yaml", "set": SHORT, "seeds": [0, 1],
               "metrics": ["bbox/AP50", "bbox/AP"], "figure": "line", "x": "K", "rows": ROWS, **changes}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The study of two seeds, run through; -> (study, output, study file)."""
    folder = tmp_path_factory.mktemp("study")
    path = study_file(folder)
    study, output = read_study(path), folder / "out"
    for row in study.rows:
        for seed in study.seeds:
            Job(study, row, seed, output).run()
    return study, output, path


def test_finished_jobs_are_not_run_again(finished, monkeypatch):
    study, output, _ = finished
    monkeypatch.setattr(Trainer, "__init__", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(Trainer, "build_model", lambda *_: pytest.fail("evaluated again"))
    for row in study.rows:
        assert Job(study, row, 1, output).run()["row"] == row.name


def test_a_row_with_weights_of_another_is_evaluated_with_them(finished):
    study, output, _ = finished
    assert not Job(study, study.row("K = 1"), 0, output).weights.exists()
    parameters = {row.name: Job(study, row, 0, output).result()["parameters"] for row in study.rows}
    assert parameters["K = 1"] == parameters["K = 2"] > parameters["baseline"]


def test_summary_is_mean_and_spread_and_gain_seed_by_seed(finished):
    study, output, _ = finished
    rows = {row["name"]: row for row in summarise(study, output)["rows"]}
    for metric in study.metrics:
        base, own = ([Job(study, study.row(name), seed, output).result()["metrics"][metric] for seed in (0, 1)]
                     for name in ("baseline", "K = 1"))
        found = rows["K = 1"]["metrics"][metric]
        assert found["mean"] == pytest.approx(np.mean(own))
        assert found["spread"] == pytest.approx(np.std(own, ddof=1))
        assert found["gain"] == pytest.approx(np.subtract(own, base).tolist())


def test_report_names_what_is_missing_and_holds_its_picture(finished, tmp_path):
    study, output, path = finished
    more = read_study(study_file(tmp_path, seeds=[0, 1, 2]))
    paths = {file.name: file for file in write_report(summarise(more, output), tmp_path, {"K = 2": 0.9})}
    text, page = (paths[name].read_text() for name in ("report.md", "report.html"))
    assert "Not run yet: baseline (seeds 2)" in text and "| K = 2 " in text and "0.900" in text
    assert "data:image/png;base64," in page and "http" not in page and "<script" not in page
    assert paths["plot.png"].read_bytes()[:4] == b"\x89PNG"
    assert json.loads(paths["results.json"].read_text())["rows"][0]["missing"] == [2]


def test_a_result_of_other_settings_is_not_taken(finished, tmp_path):
    study, output, _ = finished
    other = read_study(study_file(tmp_path, set={**SHORT, "SOLVER.MAX_ITER": 5}))
    with pytest.raises(InputError, match="other settings"):
        Job(other, other.rows[1], 0, output).result()


def test_a_killed_training_goes_on_from_its_checkpoint_and_ends_alike(finished, tmp_path, monkeypatch):
    study, output, _ = finished
    job = Job(study, study.row("K = 2"), 0, tmp_path)
    step = Trainer.run_step

    def killed(self):
        if self.iter == 3:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(Trainer, "run_step", killed)
    with pytest.raises(KeyboardInterrupt):
        job.run()
    assert job.result() is None
    iterations = []
    monkeypatch.setattr(Trainer, "run_step", lambda self: (iterations.append(self.iter), step(self)))
    found = job.run()
    assert iterations == [2, 3]
    whole = Job(study, study.row("K = 2"), 0, output).result()["metrics"]
    assert {name: str(value) for name, value in found["metrics"].items()} == {k: str(v) for k, v in whole.items()}


def test_weights_of_a_row_that_is_not_trained_yet_are_asked_for(finished, tmp_path):
    study, _, _ = finished
    with pytest.raises(InputError, match="run that row with seed 1 first"):
        Job(study, study.row("K = 1"), 1, tmp_path).run()


def test_speeds_are_measured_of_all_rows_but_the_baseline_and_controls(finished):
    study, output, _ = finished
    assert read_speeds(output) == {}
    measure_speeds(study, output, pairs=1)
    found = read_speeds(output)
    assert set(found) == {"K = 2", "K = 1"} and all(0.1 < ratio < 10 for ratio in found.values())


@pytest.mark.parametrize("changes, said", [
    ({"rows": [{"name": "a", "sett": {}}]}, "did you mean set"),
    ({"rows": [{"name": "a", "x": 1, "set": {"INPUT.SUPPORT.STRIDES": 2}}]}, "row 'a'.*INPUT.SUPPORT.STRIDE"),
    ({"rows": [*ROWS, {"name": "K = 1!", "x": 1}]}, "differs in signs alone"),
    ({"rows": [{"name": "a", "x": 1, "weights_of": "b"}]}, "names no row"),
    ({"rows": [{"name": "a", "x": 1, "control": "nothing"}]}, "another_video"),
    ({"rows": [{"name": "a"}]}, "expected a number"),
    ({"figure": "pie"}, "expected one of line"),
    ({"metrics": ["AP50"]}, "bbox/AP50"),
    ({"seeds": [-1]}, "whole numbers"),
    ({"seeds": []}, "seeds is missing"),
    ({"rows": [dict(row, baseline=True) for row in ROWS]}, "more than one row"),
])
def test_wrong_study_files_are_one_line(changes, said, tmp_path):
    with pytest.raises(InputError, match=said) as error:
        read_study(study_file(tmp_path, **changes))
    assert "\n" not in str(error.value)


def test_the_script_lists_reports_and_refuses_a_job_that_is_not_there(finished, capsys):
    _, output, path = finished
    script = load_script("projects/STPN/study.py")
    script.main([str(path), "--output", str(output), "--list"])
    assert capsys.readouterr().out.count("done") == 8
    script.main([str(path), "--output", str(output), "--report"])
    assert "| K = 1 " in capsys.readouterr().out and (output / "report.html").is_file()
    with pytest.raises(InputError, match="jobs 0 to 7"):
        script.main([str(path), "--output", str(output), "--job", "8"])


def test_the_script_runs_jobs_in_processes_of_their_own_and_tells_the_failed(tmp_path, capsys, monkeypatch):
    """The processes here are not trainings but write what one would, or fail."""
    script, path = load_script("projects/STPN/study.py"), study_file(tmp_path, seeds=[0])
    study, started = read_study(path), []

    class Process:
        def __init__(self, args, job, number):
            started.append((job.row.name, time.perf_counter()))
            self.returncode = 1 if job.row.name == "K = 2" else 0
            if not self.returncode:
                job.folder.mkdir(parents=True, exist_ok=True)
                found = {"settings": job.settings(), "metrics": dict.fromkeys(study.metrics, 1.0), "parameters": 1}
                (job.folder / "result.json").write_text(json.dumps(found))

        def poll(self):
            return self.returncode

    monkeypatch.setattr(script, "_start", Process)
    monkeypatch.setattr(script, "POLL", 0.01)
    with pytest.raises(script.PartialResult, match="K = 2, seed 0"):
        script.main([str(path), "--output", str(tmp_path / "out"), "--processes", "2"])
    assert [name for name, _ in started] == ["baseline", "K = 2", "K = 1", "another video"]
    assert "FAILED" in capsys.readouterr().out
