"""demo.py with a tracker, from a configuration and a checkpoint in files to JSON lines and a video with boxes."""

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from load_script import load_script
from PIL import Image
from tiny_vot import moving_square, vot_config, vot_model

from stpn.engine.start_boxes import ask_for_box
from stpn.engine.video_writer import VideoWriter
from stpn.errors import run_script

ROOT = Path(__file__).parents[1]
SCRIPT = str(ROOT / "projects" / "STPN" / "demo.py")
SETTINGS = ["MODEL.CVT.DEPTHS", "[1, 1, 1]", "MODEL.MIXFORMER.HEAD_DIM", "16"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a configuration, a checkpoint, a clip of 6 frames of 80x60 and its first picture."""
    folder = tmp_path_factory.mktemp("vot")
    (folder / "vot.yaml").write_text(vot_config(*SETTINGS).dump())
    torch.save({"model": vot_model(*SETTINGS).state_dict()}, folder / "model.pth")
    images, _ = moving_square(6)
    with VideoWriter(folder / "clip.mp4", fps=8) as video:
        for i, image in enumerate(images):
            video.write(image, i / 8)
    Image.fromarray(images[0]).save(folder / "one.png")
    return folder


@pytest.fixture
def demo(files, tmp_path):
    """demo(*arguments) -> exit code; results go to tmp_path/out."""
    def run(*arguments, source="clip.mp4", config="vot.yaml", weights="model.pth"):
        chosen = ["--weights", files / weights] if weights else []
        argv = ["--config-file", files / config, "--input", files / source, "--output", tmp_path / "out", *chosen,
                *arguments]
        with pytest.raises(SystemExit) as ended:
            run_script(lambda: load_script(SCRIPT).main(list(map(str, argv))))
        return ended.value.code

    return run


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def pictures(path):
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def refused(capfd, tmp_path):
    """-> the one line that was written; no file is left."""
    error = capfd.readouterr().err.strip().splitlines()
    said = [line for line in error if line.startswith("error: ")]
    assert len(said) == 1 and error[-1] == said[0] and not list(tmp_path.glob("out/*"))
    return said[0]


def test_clip_gives_boxes_with_numbers_and_flags_and_a_video(demo, tmp_path, capfd):
    assert demo("--init", "10,15,20,20", "--init", "40,30,16.5,12") == 0
    records = lines(tmp_path / "out" / "clip.jsonl")
    assert [r["index"] for r in records] == list(range(6))
    assert records[0]["boxes"] == [[10, 15, 30, 35], [40, 30, 56.5, 42]] and records[0]["scores"] == [1, 1]
    for record in records:
        assert record["track_ids"] == [0, 1] and record["labels"] == ["target"] * 2 and record["policy"] == "causal"
        assert record["lost"] == [score < 0.5 for score in record["scores"]]
        for x0, y0, x1, y1 in record["boxes"]:
            assert 0 <= x0 < x1 <= 80 and 0 <= y0 < y1 <= 60
    drawn = pictures(tmp_path / "out" / "clip.mp4")
    assert len(drawn) == 6 and {image.shape for image in drawn} == {(60, 80, 3)}
    lost = [sum(r["lost"][i] for r in records) for i in range(2)]
    summary = capfd.readouterr().out.strip().splitlines()[-1]
    assert summary.startswith("6 frames, ") and f"fps, 2 targets lost in {lost[0]} + {lost[1]} frames" in summary
    assert "policy causal (2 distinct support frames)" in summary and str(tmp_path / "out" / "clip.mp4") in summary


@pytest.mark.parametrize("threshold, lost", [(0, 0), (1.01, 6)])
def test_threshold_decides_what_counts_as_lost(threshold, lost, demo, tmp_path, capfd):
    assert demo("--init", "10,15,20,20", "--score-threshold", threshold, "--no-video") == 0
    records = lines(tmp_path / "out" / "clip.jsonl")
    assert sum(r["lost"][0] for r in records) == lost and all(len(r["boxes"]) == 1 for r in records)
    assert f"1 target lost in {lost} frames, " in capfd.readouterr().out


def test_visualizer_draws_targets_too(demo, tmp_path):
    assert demo("--init", "10,15,20,20", "--score-threshold", 1.01, "--visualizer", "--max-frames", 2) == 0
    assert len(pictures(tmp_path / "out" / "clip.mp4")) == 2


def test_without_a_score_head_scores_are_null_and_a_threshold_is_refused(demo, tmp_path, capfd):
    off = ("MODEL.MIXFORMER.SCORE_HEAD", "False")
    assert demo("--init", "10,15,20,20", "--score-threshold", 0.3, *off, weights=None) == 2
    assert "needs scores" in refused(capfd, tmp_path)
    assert demo("--init", "10,15,20,20", *off, weights=None) == 0
    records = lines(tmp_path / "out" / "clip.jsonl")
    assert all(r["scores"] == [None] and r["lost"] == [False] for r in records)
    assert "1 target (no score head: not known when lost)" in capfd.readouterr().out


@pytest.mark.parametrize("box, said", [
    ("a,b,c,d", "is not four numbers; expected x,y,w,h"), ("1,2,3", "not four numbers"), ("1,2,3,4,5", "not four"),
    ("", "not four numbers"), ("10 10 20 20", "not four numbers"), ("10,10,nan,5", "finite"), ("inf,0,5,5", "finite"),
    ("10,10,-5,5", "width and a height above 0"), ("10,10,0,5", "width and a height above 0")])
def test_a_box_typed_wrongly_is_one_line_before_the_model_is_built(box, said, demo, tmp_path, capfd):
    assert demo(f"--init={box}", weights="not-there.pth") == 2
    assert said in refused(capfd, tmp_path)


@pytest.mark.parametrize("box, said", [("80,0,5,5", "outside the frame of 80x60 pixels"), ("-5,-5,5,5", "outside"),
                                       ("0,0,9e9,9e9", "at most 3 times")])
def test_a_box_outside_the_frame_is_one_line_and_leaves_no_file(box, said, demo, tmp_path, capfd):
    assert demo(f"--init={box}") == 2
    assert said in refused(capfd, tmp_path)


@pytest.mark.parametrize("box, said", [("x", "not four numbers"), ("1,2,3", "not four numbers"), ("1,2,0,4", "above 0"),
                                       ("-5,5,5,5", "outside the frame, whatever its size: it ends left of it")])
def test_a_box_typed_wrongly_is_told_before_results_that_exist(box, said, demo, tmp_path, capfd):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/clip.jsonl").write_text("of an earlier run")
    assert demo("--init", box) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert said in line and (tmp_path / "out/clip.jsonl").read_text() == "of an earlier run"


@pytest.mark.parametrize("arguments", [["--init=-5,-5,20,20"], ["--init", "-5,-5,20,20"]])
def test_a_box_that_begins_outside_the_frame_is_followed(arguments, demo, tmp_path):
    assert demo(*arguments, "--no-video") == 0
    assert lines(tmp_path / "out" / "clip.jsonl")[0]["boxes"] == [[-5, -5, 15, 15]]


def test_init_is_refused_by_a_detector_and_look_ahead_by_a_tracker(demo, tmp_path, capfd):
    assert demo("--init", "1,2,3,4", config=ROOT / "configs" / "toy" / "stpn.yaml") == 2
    assert "--init is for trackers" in refused(capfd, tmp_path)
    assert demo("--init", "10,15,20,20", "--policy", "grid") == 2
    assert "past frames alone; choose causal" in refused(capfd, tmp_path)


def test_without_a_window_one_line_says_to_give_the_box(demo, tmp_path, capfd, monkeypatch):
    def no_window(*_, **__):
        raise cv2.error("The function is not implemented. Rebuild the library with Windows, GTK+ or Cocoa support.\n")

    monkeypatch.setattr(cv2, "selectROI", no_window)
    for display in ("", ":0"):
        monkeypatch.setenv("DISPLAY", display)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        assert demo() == 2
        assert "give the box as --init x,y,w,h" in refused(capfd, tmp_path)


def test_a_box_drawn_in_a_window_is_one_of_the_first_frame(demo, files, tmp_path, capfd, monkeypatch):
    shown, box = [], [10, 15, 20, 20]
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "selectROI", lambda title, image, **_: (shown.append(image), tuple(box))[1])
    monkeypatch.setattr(cv2, "destroyWindow", lambda title: None)
    assert demo(source="one.png") == 0
    assert lines(tmp_path / "out" / "one.jsonl")[0]["boxes"] == [[10, 15, 30, 35]]
    assert (shown[0] == cv2.imread(str(files / "one.png"))).all()  # in OpenCV's order of colours
    box[:] = 0, 0, 0, 0
    assert demo("--overwrite", source="one.png") == 2
    assert "no box was drawn" in capfd.readouterr().err


def test_a_box_drawn_on_a_large_frame_is_in_its_own_pixels(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "selectROI", lambda title, image, **_: (image.shape[1] // 2, image.shape[0] // 2, 10, 20))
    monkeypatch.setattr(cv2, "destroyWindow", lambda title: None)
    ((x, y, w, h),) = ask_for_box(np.zeros((1800, 3200, 3), np.uint8))
    assert (x, y, w, h) == (1600, 900, 20, 40)


def test_one_frame_and_a_change_of_size_and_tiny_frames(demo, files, tmp_path, capfd):
    assert demo("--init", "10,15,20,20", source="one.png") == 0
    assert len(lines(tmp_path / "out" / "one.jsonl")) == 1 and "1 frame, " in capfd.readouterr().out
    sizes = [(60, 80), (60, 80), (120, 160), (120, 160), (31, 47)]
    (files / "mixed").mkdir()
    for i, (height, width) in enumerate(sizes):
        Image.open(files / "one.png").resize((width, height)).save(files / "mixed" / f"{i}.png")
    assert demo("--init", "10,15,20,20", source="mixed") == 0
    for record, (height, width) in zip(lines(tmp_path / "out" / "mixed.jsonl"), sizes, strict=True):
        ((x0, y0, x1, y1),) = record["boxes"]
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
    (files / "tiny").mkdir()
    for i in range(3):
        Image.fromarray(np.zeros((1 + i, 3, 3), np.uint8)).save(files / "tiny" / f"{i}.png")
    assert demo("--init", "0,0,2,1", source="tiny") == 0
    assert len(pictures(tmp_path / "out" / "tiny.mp4")) == 3


@pytest.mark.parametrize("first", [True, False])
def test_an_unreadable_frame_is_noted_and_the_target_is_followed_past_it(first, demo, files, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(4):
        (folder / f"{i}.png").write_bytes((files / "one.png").read_bytes())
    broken = 0 if first else 2
    (folder / f"{broken}.png").write_bytes(b"")
    assert demo("--init", "10,15,20,20", "--on-error", "skip", source=folder) == 0
    records = lines(tmp_path / "out" / "frames.jsonl")
    assert [i for i, r in enumerate(records) if "error" in r] == [broken]
    assert records[broken]["boxes"] == records[broken]["lost"] == [] and records[1]["track_ids"] == [0]
    if first:
        assert records[1]["boxes"] == [[10, 15, 30, 35]]
