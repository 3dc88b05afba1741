"""Studies: files that are refused, jobs that are not run twice, and a training that goes on."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from load_script import load_script
from tiny_toy import TINY, toy_sets

from stpn.data.builtin import ensure_registered
from stpn.engine.config_file import flatten_config
from stpn.engine.trainer import Trainer
from stpn.errors import InputError
from stpn.study import speed
from stpn.study.controls import CONTROLS
from stpn.study.job import Job
from stpn.study.schedule import Task
from stpn.study.speed import measure_speeds, read_speeds, speed_notes
from stpn.study.study_file import read_study
from stpn.study.summary import summarise
from stpn.study.tasks import prepare_tasks, row_tasks

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


def test_a_row_with_other_settings_is_another_job(finished, tmp_path):
    study, output, _ = finished
    other = read_study(study_file(tmp_path, set={**SHORT, "SOLVER.MAX_ITER": 5}))
    for row in other.rows:
        assert Job(study, study.row(row.name), 0, output).result() is not None
        assert Job(other, row, 0, output).result() is None


def test_studies_share_the_rows_that_they_have_in_common(finished, tmp_path):
    _, output, _ = finished
    rows = [{"name": "no prompts at all", "config": "configs/toy/baseline.yaml"},
            {"name": "one", "set": {"INPUT.SUPPORT.FRAMES_PER_SIDE": 1}, "weights_of": "two"},
            {"name": "two", "set": {"INPUT.SUPPORT.FRAMES_PER_SIDE": 2}},
            {"name": "one, trained", "set": {"INPUT.SUPPORT.FRAMES_PER_SIDE": 1}}]
    other = read_study(study_file(tmp_path, rows=rows, figure="bars"))
    done = {row.name: Job(other, row, 0, output).result() for row in other.rows}
    assert done["no prompts at all"]["row"] == "baseline" and done["one"]["row"] == "K = 1"
    assert done["two"]["row"] == "K = 2"
    assert done["one, trained"] is None  # evaluated alike, but trained otherwise


def test_a_result_without_the_metric_of_a_study_is_told(finished, tmp_path):
    _, output, _ = finished
    other = read_study(study_file(tmp_path, metrics=["bbox/AP5"]))
    with pytest.raises(InputError, match="gives no bbox/AP5; its figures are .*bbox/AP50"):
        Job(other, other.rows[0], 0, output).result()


def test_gain_is_over_the_baseline_of_the_own_group(finished, tmp_path):
    _, output, _ = finished
    rows = [{**ROWS[0], "group": "a"}, {**ROWS[1], "group": "a"}, {**ROWS[2], "group": "b", "baseline": True},
            {"name": "K = 2 again", "group": "b", "set": ROWS[1]["set"]}, {**ROWS[3], "group": "c"}]
    other = read_study(study_file(tmp_path, rows=rows, figure="bars"))
    found = {row["name"]: row["metrics"]["bbox/AP"] for row in summarise(other, output)["rows"]}

    def minus(name, base):
        return np.subtract(found[name]["values"], found[base]["values"]).tolist()

    assert found["K = 2"]["gain"] == minus("K = 2", "baseline")
    assert found["K = 2 again"]["gain"] == minus("K = 2 again", "K = 1")
    assert found["another video"]["gain"] is None  # two baselines, neither of its group


def test_a_job_is_the_same_from_every_folder_and_in_every_checkout(tmp_path, monkeypatch):
    """The start is named relative to the project where it lies in it, as find_weights finds it from elsewhere."""
    study = read_study(study_file(tmp_path, set={"MODEL.WEIGHTS": "projects/STPN/weights/toy_stpn.safetensors"}))
    monkeypatch.chdir(ROOT)
    here = [Job(study, row, 0, tmp_path).settings for row in study.rows]
    monkeypatch.chdir(tmp_path)
    assert Path(Job(study, study.rows[0], 0, tmp_path).config().MODEL.WEIGHTS).is_absolute()
    assert [Job(study, row, 0, tmp_path).settings for row in study.rows] == here


def test_rows_of_different_names_and_equal_settings_are_one_job_from_the_start(tmp_path):
    rows = [{"name": "a"}, {"name": "b"}, {"name": "基线", "config": "configs/toy/baseline.yaml"}]
    study = read_study(study_file(tmp_path, rows=rows, figure="bars", seeds=[0]))
    assert [task.title for task in row_tasks([study], tmp_path)] == ["study: a, seed 0", "study: 基线, seed 0"]


def test_a_result_is_refused_where_the_weights_that_training_started_from_have_changed(finished, tmp_path):
    start, rows = tmp_path / "start.pth", ROWS[:1]
    start.write_bytes(b"one")
    study = read_study(study_file(tmp_path, rows=rows, set={**SHORT, "MODEL.WEIGHTS": str(start)}))
    job = Job(study, study.rows[0], 0, tmp_path)
    job.folder.mkdir(parents=True)
    found = {"metrics": dict.fromkeys(study.metrics, 1.0), "parameters": 1, "start": job._start()}
    (job.folder / "result.json").write_text(json.dumps(found))
    assert job.result() == found
    os.utime(start)
    assert job.result() == found
    start.write_bytes(b"two")
    os.utime(start, (1, 1))
    with pytest.raises(InputError, match="trained from other weights than"):
        job.result()
    start.unlink()  # no longer needed
    assert job.result() == found


@pytest.mark.parametrize("broken", ["", "{}", "[]", '{"metrics": 3}'])
def test_a_broken_result_is_told(finished, tmp_path, broken):
    study, _, _ = finished
    if broken != "{}":
        (tmp_path / "speed.json").write_text(broken)
        with pytest.raises(InputError, match="does not hold speeds; delete it"):
            read_speeds(study, tmp_path)
    job = Job(study, study.rows[0], 0, tmp_path)
    job.folder.mkdir(parents=True)
    (job.folder / "result.json").write_text(broken)
    with pytest.raises(InputError, match="not a result of a study; delete it"):
        job.result()


def test_a_second_process_waits_for_the_first_and_takes_its_result(finished, tmp_path, monkeypatch):
    study, output, _ = finished
    job = Job(study, study.row("K = 2"), 0, tmp_path)
    monkeypatch.setattr("stpn.study.job.launch", lambda *_, **__: pytest.fail("trained beside the other"))
    job.folder.mkdir(parents=True)
    with open(job.folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=job.run)
        waiting.start()
        time.sleep(0.3)
        assert waiting.is_alive()
        shutil.copy(Job(study, job.row, 0, output).folder / "result.json", job.folder)
    waiting.join(20)
    assert not waiting.is_alive() and job.result()


def test_a_training_that_was_killed_right_before_its_last_file_is_finished(finished, tmp_path):
    study, output, _ = finished
    done, job = (Job(study, study.row("K = 2"), 0, folder) for folder in (output, tmp_path))
    shutil.copytree(done.folder, job.folder)
    for name in ("result.json", "model_final.pth"):
        (job.folder / name).unlink()
    (job.folder / "last_checkpoint").write_text("model_0000003.pth")
    assert (job.folder / "model_0000003.pth").exists()
    assert job.run()["metrics"] == pytest.approx(done.result()["metrics"], nan_ok=True)


def test_a_failed_study_reports_what_is_done_measures_nothing_and_says_what_failed(finished, monkeypatch, capsys):
    _, output, path = finished
    script = load_script("projects/STPN/study.py")
    monkeypatch.setattr(script, "measure_speeds", lambda *_: pytest.fail("measured"))
    task = Task("a", "study: a", (), ("none.py",), output / "log", output / "none")
    monkeypatch.setattr(script, "row_tasks", lambda *_, **__: [task])
    with pytest.raises(script.PartialResult, match="1 of 1 not done, the first is study: a"):
        script.main([str(path), "--output", str(output), "--speed"])
    assert "| K = 1 " in capsys.readouterr().out


def test_controls_of_a_row_change_what_they_say_and_nothing_else(tmp_path):
    study = read_study(study_file(tmp_path, controls_of="K = 2", rows=ROWS[:3]))
    own = Job(study, study.row("K = 2"), 0, tmp_path).config()
    rows = {row.control: row for row in study.rows if row.control}
    assert list(rows) == list(CONTROLS)
    for name, row in rows.items():
        changed = {key: value for key, value in flatten_config(Job(study, row, 0, tmp_path).config()).items()
                   if flatten_config(own)[key] != value}
        trained = {"learnt_prompts": {"MODEL.STPN.PREDICTOR.NAME": "ConstantPredictor",
                                      "MODEL.STPN.PREDICTOR.TOKEN_NORM": False},
                   "own_frame_trained": {"INPUT.SUPPORT.TEST_POLICY": "own"}}
        assert changed == trained.get(name, {})
        assert row.weights_of == ("" if name in trained else "K = 2")
        Trainer.build_model(Job(study, row, 0, tmp_path).config())
    few = read_study(study_file(tmp_path, controls_of="K = 2", controls=["no_prompts"], rows=ROWS[:3]))
    assert [row.control for row in few.rows if row.control] == ["no_prompts"]


def test_a_study_takes_what_its_base_says(tmp_path):
    step = {"makes": "{datasets}/b", "run": "projects/STPN/make_toy.py --output {datasets}/b"}
    base = {"seeds": [7], "metrics": ["bbox/AP"], "set": {**SHORT, "SOLVER.MAX_ITER": 9}, "prepare": [step]}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    path = study_file(tmp_path, _BASE_="base.yaml", set={"SOLVER.MAX_ITER": 3}, prepare=[{**step, "makes": "c"}])
    study = read_study(path)
    assert study.seeds == [0, 1] and study.metrics == ["bbox/AP50", "bbox/AP"]  # its own
    cfg = Job(study, study.rows[0], 0, tmp_path).config()
    assert (cfg.SOLVER.MAX_ITER, cfg.MODEL.SWIN.EMBED_DIM) == (3, 8)
    root = os.environ["DETECTRON2_DATASETS"]
    assert [one.makes for one in study.steps] == [f"{root}/b", "c"]
    assert study.steps[0].run == ["projects/STPN/make_toy.py", "--output", f"{root}/b"]


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


@pytest.mark.skipif(os.name != "posix", reason="starts processes that talk over gloo")
def test_two_processes_train_one_row_and_evaluate_as_one_does(finished, tmp_path):
    """One leaves the weights; evaluating them alone gives the same figures."""
    study, _, _ = finished
    job = Job(study, study.row("K = 2"), 0, tmp_path)
    code = ("import sys; from pathlib import Path; from stpn.study.job import Job\n"
            "from stpn.study.study_file import read_study\nif __name__ == '__main__':\n"
            " s = read_study(sys.argv[1]); Job(s, s.row('K = 2'), 0, sys.argv[2]).run(gpus=2)")
    (tmp_path / "main.py").write_text(code)
    subprocess.run([sys.executable, str(tmp_path / "main.py"), str(study.path), str(tmp_path)], check=True, cwd=ROOT,
                   env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=200)
    two = job.result()["metrics"]
    (job.folder / "result.json").unlink()
    one = job.run()["metrics"]
    assert {name: pytest.approx(value, abs=1e-3, nan_ok=True) for name, value in one.items()} == two


def test_weights_of_a_row_that_is_not_trained_yet_are_asked_for(finished, tmp_path):
    study, _, _ = finished
    with pytest.raises(InputError, match="run that row with seed 1 first"):
        Job(study, study.row("K = 1"), 1, tmp_path).run()


def test_speeds_are_measured_of_all_rows_but_the_baseline_and_controls_once(finished, tmp_path, monkeypatch):
    study, _, _ = finished
    assert read_speeds(study, tmp_path) == {}
    measure_speeds(study, tmp_path, pairs=1)
    found = read_speeds(study, tmp_path)
    assert set(found) == {"K = 2", "K = 1"} and all(0.1 < ratio < 10 for ratio in found.values())
    assert speed_notes(study, tmp_path)[0].startswith("Speeds: measured in turn with the baseline")
    monkeypatch.setattr(speed, "_compare", lambda *_: {"ratio": 3.0, "control": 90.0})
    others = read_study(study_file(tmp_path, rows=[*ROWS[:2], {**ROWS[2], "set": {"INPUT.SUPPORT.STRIDE": 2}}]))
    measure_speeds(others, tmp_path)  # goes on where it was stopped: only what is new is measured
    assert read_speeds(others, tmp_path) == {"K = 2": found["K = 2"], "K = 1": 3.0}
    assert "to 90.000" in speed_notes(others, tmp_path)[0]
    assert read_speeds(study, tmp_path) == {"K = 2": found["K = 2"]}  # K = 1 had other settings


@pytest.mark.parametrize("changes, said", [
    ({"rows": [{"name": "a", "sett": {}}]}, "did you mean set"),
    ({"rows": [{"name": "a", "x": 1, "set": {"INPUT.SUPPORT.STRIDES": 2}}]}, "row 'a'.*INPUT.SUPPORT.STRIDE"),
    ({"rows": [*ROWS, ROWS[2]]}, "another row has this name"),
    ({"set": [1]}, "set is .1.; expected a mapping"),
    ({"rows": [{"name": "a", "set": [1]}]}, "row 'a': set is .1.; expected a mapping"),
    ({"controls": ["no_prompts"]}, "no controls_of"),
    ({"controls_of": "K = 2", "controls": "no_prompts"}, "controls is 'no_prompts'; expected a list"),
    ({"controls_of": "K = 1"}, "which is not trained itself; name 'K = 2'"),
    ({"_BASE_": "study.yaml"}, "leads back"),
    ({"prepare": [{"makes": "a", "run": "setup.py 'a"}]}, "expected a script with arguments"),
    ({"prepare": [{"makes": "a", "run": "setup.py", "needs": "b"}]}, "needs is 'b'; expected a list"),
    ({"prepare": [{"makes": "abc", "run": "setup.py", "needs": ["abd"]}]}, "needs abd, which no step makes; did you"),
    ({"rows": [{"name": "a", "x": 1, "set": {"DATASETS.TEST": []}}]}, "expected one set"),
    ({"rows": [*ROWS[:2], {"name": "a", "control": "learnt_prompts", "weights_of": "K = 2"}]}, "drop weights_of"),
    ({"rows": [{"name": "a", "x": 1, "weights_of": "b"}]}, "names no row"),
    ({"rows": [{"name": "a", "x": 1, "control": "nothing"}]}, "another_video"),
    ({"rows": [{"name": "a"}]}, "expected a number"),
    ({"figure": "pie"}, "expected one of line"),
    ({"metrics": ["AP50"]}, "bbox/AP50"),
    ({"seeds": [-1]}, "whole numbers"),
    ({"seeds": [1, 1]}, "different whole numbers"),
    ({"metrics": "bbox/AP"}, "metrics is 'bbox/AP'; expected a list"),
    ({"config": 3}, "config is 3"),
    ({"rows": [{"name": ["a"]}]}, "expected a name"),
    ({"rows": [{"name": "a", "x": True}]}, "expected a number"),
    ({"rows": [{"name": "a", "x": float("nan")}]}, "expected a number"),
    ({"_BASE_": 3}, "_BASE_ is 3"),
    ({"controls_of": "baseline"}, "which has no prompts"),
    ({"prepare": [{"makes": "{dataset}/a", "run": "setup.py"}]}, "{dataset} is not known; expected {datasets}"),
    ({"seeds": []}, "seeds is missing"),
    ({"rows": [dict(row, baseline=True) for row in ROWS]}, "is the baseline, too"),
    ({"rows": [*ROWS[:2], {"name": "a", "control": "no_prompts"}]}, "add weights_of"),
    ({"controls_of": "K = 3"}, "controls_of names no row.*did you mean 'K = "),
    ({"controls_of": "K = 2", "controls": ["own"]}, "expected some of another_video"),
    ({"_BASE_": "none.yaml"}, "no study file .*none.yaml"),
    ({"prepare": [{"makes": "a"}]}, "expected makes"),
    ({"prepare": [{"makes": "a", "run": "make_toys.py"}]}, "no script make_toys.py"),
    ({"rows": 3}, "rows is 3; expected a list"),
])
def test_wrong_study_files_are_one_line(changes, said, tmp_path):
    with pytest.raises(InputError, match=said) as error:
        read_study(study_file(tmp_path, **changes))
    assert "\n" not in str(error.value)


def test_the_script_lists_reports_and_refuses_a_row_that_is_not_there(finished, capsys):
    _, output, path = finished
    script = load_script("projects/STPN/study.py")
    script.main([str(path), "--output", str(output), "--list"])
    assert capsys.readouterr().out.count("2 of 2 done") == 4
    script.main([str(path), "--output", str(output), "--report"])
    assert "| K = 1 " in capsys.readouterr().out and (output / "study" / "report.html").is_file()
    for wrong, said in ((["--row", "4"], "rows 0 to 3"), (["--row", "0", "--seed", "2"], "seeds are 0, 1"),
                        (["--seed", "0"], "is for --row"), (["--processes", "0"], "at least 1")):
        with pytest.raises(InputError, match=said):
            script.main([str(path), "--output", str(output), *wrong])


def test_tasks_are_what_is_left_each_once_and_run_what_they_name(finished, tmp_path, monkeypatch):
    """Of two studies that share the rows; each task, run as the script would be, makes what it promises."""
    _, _, path = finished
    script, ran = load_script("projects/STPN/study.py"), []
    monkeypatch.setattr(Job, "run", lambda job, gpus: ran.append((job.row.name, job.seed, job.folder)))
    rows = [*ROWS[:2], {"name": "K = 3", "x": 3, "set": {"INPUT.SUPPORT.FRAMES_PER_SIDE": 3}, "weights_of": "K = 2"}]
    studies = [read_study(path), read_study(study_file(tmp_path, rows=rows))]
    done = Job(studies[0], studies[0].row("baseline"), 0, tmp_path)
    done.folder.mkdir(parents=True)
    found = {"metrics": dict.fromkeys(studies[0].metrics, 1.0), "start": ""}
    (done.folder / "result.json").write_text(json.dumps(found))
    tasks = row_tasks(studies, tmp_path)
    assert [task.title for task in tasks] == [
        "study: baseline, seed 1", "study: K = 2, seed 0", "study: K = 2, seed 1", "study: K = 1, seed 0",
        "study: K = 1, seed 1", "study: another video, seed 0", "study: another video, seed 1",
        "study: K = 3, seed 0", "study: K = 3, seed 1"]
    trained = {task.title: task.key for task in tasks if not task.needs}
    for task in tasks:
        assert task.run[0] == "projects/STPN/study.py"
        script.main(list(task.run[1:]))
        name, seed, folder = ran.pop()
        assert task.title == f"study: {name}, seed {seed}" and task.makes == folder / "result.json"
        assert task.needs == (() if task.title in trained else (trained[f"study: K = 2, seed {seed}"],))


def test_what_rows_start_from_is_made_once_and_not_in_two_ways(finished, tmp_path):
    step = {"makes": str(tmp_path / "a"), "run": "setup.py 1"}
    other = {"makes": str(tmp_path / "b"), "needs": [str(tmp_path / "a")], "run": "setup.py 2"}

    def steps(*prepare):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return read_study(study_file(folder, prepare=list(prepare)))

    tasks = prepare_tasks([steps(step), steps(step, other)], tmp_path)
    assert [(task.makes.name, task.needs) for task in tasks] == [("a", ()), ("b", (str(tmp_path / "a"),))]
    (tmp_path / "a").touch()
    assert [task.makes.name for task in prepare_tasks([steps(step, other)], tmp_path)] == ["b"]
    with pytest.raises(InputError, match="in another way"):
        prepare_tasks([steps(step), steps({**step, "run": "setup.py 3"})], tmp_path)
