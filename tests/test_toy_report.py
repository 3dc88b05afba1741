"""toy_report.py with scripts that only leave what the real ones would: the page is whole, and nothing is done twice."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from load_script import ROOT, load_script

from stpn.data.toy_got10k import write_toy_got10k
from stpn.data.toy_layout import write_toy
from stpn.data.toy_ytvis import write_toy_ytvis
from stpn.engine.video_writer import VideoWriter
from stpn.errors import InputError, PartialResult
from stpn.study import page
from stpn.study.report import write_report

WRITERS = {"toy_vid": write_toy, "toy_ytvis": write_toy_ytvis, "toy_got10k": write_toy_got10k}


def option(arguments, name):
    return Path(arguments[arguments.index(name) + 1])


def picture(path, shape=(60, 80, 3)):
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, shape, np.uint8))


def comparison(folder):
    """STPN alone finds something in all even frames, the baseline in all odd ones."""
    with VideoWriter(str(folder / "clip.mp4"), fps=8) as video:
        for t in range(48):
            video.write(np.full((32, 96, 3), 5 * t, np.uint8), t / 8)
    lines = [{"index": t, "labels_by_model_alone": [1] * (t % 2 == 0), "labels_by_against_alone": [1] * (t % 2)}
             for t in range(48)]
    (folder / "clip.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def copy_study(finished, folder, name):
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps({**results, "name": name}))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study -> its folder."""
    row = {"name": "baseline", "x": None, "group": "", "series": "", "baseline": True, "control": "", "weights_of": "",
           "parameters": 10, "seeds": [0], "missing": [], "metrics": {"bbox/AP": {"values": [1.0], "mean": 1.0,
                                                                                  "spread": None, "gain": None}}}
    folder = tmp_path_factory.mktemp("study")
    write_report({"name": "Any", "metrics": ["bbox/AP"], "seeds": [0], "axis": "", "figure": "bars", "rows": [row]},
                 folder)
    return folder


class Scripts:
    """In place of toy_report.Runner. ran: names of the scripts; code: that study.py ends with."""

    ran, code, finished = [], 0, None

    def __init__(self, work):
        self.work, self.datasets = Path(work).resolve(), Path(work).resolve() / "datasets"

    def __call__(self, script, *arguments, log=None):
        self.ran.append(script)
        folder = option(arguments, "--output")
        if script == "make_toy.py":
            WRITERS[folder.name](folder, split="val", videos=1, seed=12)
            return 0
        folder.mkdir(parents=True, exist_ok=True)
        if script == "compare.py":
            comparison(folder)
        elif script == "study.py":
            for file in [Path(a) for a in arguments if str(a).endswith(".yaml")][self.code:]:
                copy_study(self.finished, folder / file.stem, f"Study {file.stem}")
        else:
            (folder / f"{script[:-3]}.json").write_text("{}")
            for name in ("grad_cam", "support_reading", "prompt_reading", "embed"):
                picture(folder / f"{name}.png")
        return self.code


@pytest.fixture
def script(monkeypatch, tmp_path, finished):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "work" / "datasets"))
    found = load_script("projects/STPN/toy_report.py")
    monkeypatch.setattr(found, "Runner", Scripts)
    monkeypatch.setattr(Scripts, "ran", [])
    monkeypatch.setattr(Scripts, "finished", finished)
    monkeypatch.setattr(found, "trained", lambda file: f"Trained: as {file.name} says.")  # its own test is below
    return found


def test_the_page_shows_all_there_is_links_only_what_lies_beside_it_and_is_made_again_alike(script, tmp_path):
    output = tmp_path / "page"
    output.mkdir()
    (output / page.FINDINGS).write_text("figure4: {paper: Up by 4.3., found: Up.}\nboxes_against: {found: A miss.}\n")
    command = ["--work", str(tmp_path / "work"), "--output", str(output)]
    script.main(command)
    text = (output / "README.md").read_text()
    stems = [path.stem for path in sorted((ROOT / "configs/studies").glob("*.yaml"))]
    assert re.findall(r"^## Study (\w+)$", text, re.M) == stems
    links = set(re.findall(r"\]\(([^)]+)\)", text))
    assert links == {path.name for path in output.iterdir()} - {"README.md", page.FINDINGS}
    for key in ("boxes", "masks", "tracks", "grad_cam"):
        assert {f"{key}_model.jpg", f"{key}_against.jpg"} <= links
    assert text.index("**The paper:** Up by 4.3.") < text.index("**Found here:** Up.") and "A miss." in text
    assert "Not run" not in text
    first, before = {path.name: path.read_bytes() for path in output.iterdir()}, list(Scripts.ran)
    assert before.count("compare.py") == 3 and before.count("explain.py") == 3
    script.main(command)
    assert set(Scripts.ran[len(before):]) == {"make_toy.py", "study.py"}, "these know what is done themselves"
    assert first == {path.name: path.read_bytes() for path in output.iterdir()}


def test_a_study_that_is_not_finished_is_named_and_the_end_says_partial(script, tmp_path, monkeypatch):
    monkeypatch.setattr(Scripts, "code", 3)
    monkeypatch.setattr(script, "picture_parts", lambda run, findings: ([], {}))
    with pytest.raises(PartialResult, match="study.py ended with 3"):
        script.main(["--work", str(tmp_path / "work"), "--output", str(tmp_path / "page")])
    text = (tmp_path / "page" / "README.md").read_text()
    names = [path.name for path in sorted((ROOT / "configs/studies").glob("*.yaml"))]
    assert f"Not run: {', '.join(names[:3])}." in text and "## Study table5_stride" in text


def test_studies_of_another_folder_are_taken_as_they_are_and_none_is_run(script, tmp_path, monkeypatch, finished):
    monkeypatch.setattr(script, "picture_parts", lambda run, findings: ([], {}))
    copy_study(finished, tmp_path / "elsewhere" / "figure5", "From elsewhere")
    script.main(["--work", str(tmp_path / "work"), "--output", str(tmp_path / "page"), "--studies-of",
                 str(tmp_path / "elsewhere")])
    assert "## From elsewhere" in (tmp_path / "page" / "README.md").read_text() and "study.py" not in Scripts.ran


def test_how_a_study_was_trained_is_read_from_the_rows_that_train(tmp_path):
    rows = [{"name": "a", "set": {"SOLVER.MAX_ITER": 7}}, {"name": "b", "weights_of": "a"}]
    (tmp_path / "k.yaml").write_text(yaml.safe_dump({
        "name": "K", "config": "configs/toy/stpn.yaml", "seeds": [0, 4], "metrics": ["bbox/AP"], "rows": rows}))
    told = load_script("projects/STPN/toy_report.py").trained(tmp_path / "k.yaml")
    assert "Trained: 7 iterations of 8 frames, each row with the seeds 0, 4" in told
    assert "configs/studies/k.yaml" in told


def test_a_script_that_fails_is_named_with_what_it_said_last(tmp_path, monkeypatch):
    script = load_script("projects/STPN/toy_report.py")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    (tmp_path / "projects/STPN").mkdir(parents=True)
    (tmp_path / "projects/STPN/made.py").write_text("import sys\nprint('one')\nsys.exit('error: no such thing')\n")
    monkeypatch.setenv("DETECTRON2_DATASETS", "")
    run = script.Runner(tmp_path / "work")
    with pytest.raises(InputError, match="made.py ended with 1: error: no such thing; .*logs/try.txt"):
        run("made.py", log="try")
    assert (tmp_path / "work/logs/try.txt").read_text().splitlines() == ["one", "error: no such thing"]


def test_the_committed_findings_are_of_studies_and_pictures_that_there_are():
    found = page.read_findings(ROOT / "docs/report")
    stems = {path.stem for path in (ROOT / "configs/studies").glob("*.yaml")}
    pictures = {f"{key}_{by}" for key in ("boxes", "masks", "tracks", "grad_cam") for by in ("model", "against")}
    assert found and set(found) <= stems | pictures | {"support_reading", "prompt_reading", "embed"}
