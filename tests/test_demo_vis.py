"""demo.py with a segmenter, from a configuration and a checkpoint in files to JSON lines and a video of masks."""

import itertools
import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from load_script import load_script
from pycocotools import mask as coco_mask
from tiny_vis import vis_config, vis_model

from stpn.engine.video_writer import VideoWriter
from stpn.errors import run_script
from stpn.heads import TrackMemory

SCRIPT = str(Path(__file__).parents[1] / "projects" / "STPN" / "demo.py")
SETTINGS = ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3", "INPUT.MIN_SIZE_TEST", "48", "INPUT.MAX_SIZE_TEST", "64",
            "INPUT.SUPPORT.STRIDE", "2", "INPUT.SUPPORT.FRAMES_PER_SIDE", "2", "TEST.WINDOW_SIZE", "4"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a configuration, a checkpoint and a clip of 6 frames."""
    folder = tmp_path_factory.mktemp("vis")
    (folder / "vis.yaml").write_text(vis_config(*SETTINGS).dump())
    torch.save({"model": vis_model(*SETTINGS).state_dict()}, folder / "model.pth")
    rng = np.random.default_rng(0)
    with VideoWriter(folder / "clip.mp4", fps=8) as video:
        for i in range(6):
            video.write(np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8), i / 8)
    return folder


@pytest.fixture
def demo(files, tmp_path):
    """demo(*arguments) -> exit code; results go to tmp_path/out."""
    def run(*arguments):
        argv = ["--config-file", files / "vis.yaml", "--weights", files / "model.pth", "--input", files / "clip.mp4",
                "--output", tmp_path / "out", *arguments]
        with pytest.raises(SystemExit) as ended:
            run_script(lambda: load_script(SCRIPT).main(list(map(str, argv))))
        return ended.value.code

    return run


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_clip_gives_masks_with_track_numbers_and_a_video(demo, tmp_path, capfd):
    assert demo("--score-threshold", 0) == 0
    records = lines(tmp_path / "out" / "clip.jsonl")
    assert [r["index"] for r in records] == list(range(6))
    masks = 0
    for record in records:
        assert len(set(record["track_ids"])) == len(record["segmentations"]) == len(record["boxes"])
        for box, segmentation in zip(record["boxes"], record["segmentations"], strict=True):
            x, y, width, height = coco_mask.toBbox(segmentation)
            assert box == [x, y, x + width, y + height] and segmentation["size"] == [48, 64]
            masks += 1
    tracks = {number for record in records for number in record["track_ids"]}
    summary = capfd.readouterr().out.strip().splitlines()[-1]
    assert summary.startswith("6 frames, ") and f"{len(tracks)} instances ({masks} masks)" in summary and masks
    with av.open(str(tmp_path / "out" / "clip.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) == 6


@pytest.mark.parametrize("good", [0, 2])
def test_scores_that_are_no_numbers_end_the_demo_with_one_line_and_what_was_written_before(
        good, demo, tmp_path, capfd, monkeypatch):
    add, frames = TrackMemory.add, itertools.count()
    monkeypatch.setattr(TrackMemory, "add", lambda self, logits, embeds: add(
        self, logits * (float("nan") if next(frames) >= good else 1), embeds))
    assert demo() == 1
    assert [r["index"] for r in lines(tmp_path / "out" / "clip.jsonl")] == list(range(good))
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: frame {good}: class scores are not finite")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["clip.jsonl", "clip.mp4"][:1 + (good > 0)]


def test_policy_threshold_and_number_of_frames_act(demo, tmp_path, capfd):
    assert demo("--policy", "causal", "--max-frames", 3, "--score-threshold", 1.01, "--no-video") == 0
    records = lines(tmp_path / "out" / "clip.jsonl")
    assert [(r["policy"], r["track_ids"], r["segmentations"]) for r in records] == [("causal", [], [])] * 3
    assert "0 instances (0 masks), policy causal" in capfd.readouterr().out
    assert demo("--no-video") == 2 and "--overwrite" in capfd.readouterr().err
    assert demo("--no-video", "--overwrite", "MODEL.STPN.ENABLED", "False") == 0
    assert "no support frames" in capfd.readouterr().out
