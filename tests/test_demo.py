"""demo.py from command line to files and exit code, with a detector that needs no weights."""

import json
import runpy
import signal
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from load_script import load_script
from PIL import Image

from stpn.engine.predictor import VideoPredictor
from stpn.engine.video_writer import VideoWriter
from stpn.errors import run_script
from stpn.prompting import SupportSampler

ROOT = Path(__file__).parents[1]
SCRIPT = str(ROOT / "projects" / "STPN" / "demo.py")
CONFIG = str(ROOT / "configs" / "stpn_vid_swint.yaml")


class CentreModel:
    """Finds one object in the middle of every frame, and a doubtful one. `interrupt_at` plays Ctrl-C."""

    interrupt_at = None

    def __init__(self, cfg):
        self.sampler = SupportSampler.from_config(cfg.INPUT.SUPPORT)
        self.enabled = cfg.MODEL.STPN.ENABLED

    def support_samplers(self, sampler=None):
        return (sampler or self.sampler,) if self.enabled else ()

    def stream(self, frames, sampler=None):
        for t, item in enumerate(frames):
            height, width = item["height"], item["width"]
            box = torch.tensor([[width / 4, height / 4, 3 * width / 4, 3 * height / 4]]).repeat(2, 1)
            if t == self.interrupt_at:
                signal.raise_signal(signal.SIGINT)
            yield (
                t,
                item,
                Instances(
                    (height, width),
                    pred_boxes=Boxes(box),
                    scores=torch.tensor([0.9, 0.3]),
                    pred_classes=torch.tensor([5, 6]),
                ),
            )


@pytest.fixture
def demo(monkeypatch, tmp_path):
    """demo(*arguments) -> exit code; without --output the results go to tmp_path/out."""
    script = load_script(SCRIPT)
    monkeypatch.setattr(
        script,
        "VideoPredictor",
        lambda cfg, *, weights, policy: VideoPredictor(cfg, policy=policy, model=CentreModel(cfg)),
    )

    def run(*arguments):
        argv = ["--config-file", CONFIG, "--output", str(tmp_path / "out"), *map(str, arguments)]
        with pytest.raises(SystemExit) as ended:
            run_script(lambda: script.main(argv))
        return ended.value.code

    return run


def pictures(count, size=(48, 64)):
    return [np.full((*size, 3), 10 * i % 200, np.uint8) for i in range(count)]


@pytest.fixture
def clip(tmp_path):
    """A 12-frame mp4, 8 frames per second."""
    with VideoWriter(tmp_path / "clip.mp4", fps=8) as video:
        for i, image in enumerate(pictures(12)):
            video.write(image, i / 8)
    return tmp_path / "clip.mp4"


@pytest.fixture
def folder(tmp_path):
    """Eight pictures."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, image in enumerate(pictures(8)):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def truncate(path):
    path.write_bytes(path.read_bytes()[:60])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def frames_of(path):
    with av.open(str(path)) as file:
        return [picture.to_ndarray(format="rgb24") for picture in file.decode(video=0)]


def test_video_gives_an_mp4_and_a_line_for_each_frame(demo, clip, tmp_path, capfd):
    assert demo("--input", clip) == 0
    records = lines(tmp_path / "out" / "clip.jsonl")
    assert [r["index"] for r in records] == list(range(12)) and records[4]["time"] == 0.5
    assert records[0]["boxes"] == [[16, 12, 48, 36]] and records[0]["scores"] == [0.9]
    assert records[0]["labels"] == ["car"] or records[0]["labels"][0].isprintable()
    assert all(r["policy"] == "grid" for r in records)
    drawn = frames_of(tmp_path / "out" / "clip.mp4")
    assert len(drawn) == 12 and np.ptp(drawn[3]) > 100  # something coloured is on the plain grey
    with av.open(str(tmp_path / "out" / "clip.mp4")) as file:
        assert float(file.streams.video[0].average_rate) == 8 and "grid" in file.metadata["comment"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["clip.jsonl", "clip.mp4"]
    out, err = capfd.readouterr()
    last = out.strip().splitlines()[-1]
    assert (
        last.startswith("12 frames, ")
        and "fps, 12 detections, policy grid (2 distinct support frames)" in last
    )
    assert str(tmp_path / "out" / "clip.mp4") in last and "12/12" in err


def test_options_for_score_policy_and_number_of_frames(demo, clip, tmp_path, capfd):
    assert (
        demo("--input", clip, "--score-threshold", 0.2, "--policy", "causal", "--max-frames", 3, "--no-video")
        == 0
    )
    records = lines(tmp_path / "out" / "clip.jsonl")
    assert [len(r["boxes"]) for r in records] == [2, 2, 2] and records[0]["policy"] == "causal"
    assert not (tmp_path / "out" / "clip.mp4").exists()
    assert "policy causal" in capfd.readouterr().out


def test_overrides_of_the_config_reach_the_predictor(demo, clip, tmp_path, capfd):
    assert demo("--input", clip, "--no-video", "MODEL.STPN.ENABLED", "False") == 0
    assert "no support frames" in capfd.readouterr().out


def test_folder_and_pattern_are_videos_too(demo, folder, tmp_path):
    assert demo("--input", folder, "--fps", 4) == 0
    assert [r["time"] for r in lines(tmp_path / "out" / "frames.jsonl")][:3] == [0, 0.25, 0.5]
    assert demo("--input", folder / "[0-3].png", "--output", tmp_path / "other", "--no-video") == 0
    assert len(lines(tmp_path / "other" / "frames.jsonl")) == 4


def test_one_frame_video_reports_one_distinct_support(demo, folder, tmp_path, capfd):
    assert demo("--input", folder / "0.png") == 0
    assert len(frames_of(tmp_path / "out" / "0.mp4")) == 1
    assert "1 frame, " in (out := capfd.readouterr().out) and "1 distinct support frame)" in out


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "not found"),
        (b"", "not a video"),
        (b"text\n" * 99, "not a video"),
        (b"\0\0\0\x18ftypisom", "index missing"),
    ],
)
def test_bad_input_exits_2_with_one_line_and_leaves_no_file(demo, tmp_path, capfd, content, message):
    if content is not None:
        (tmp_path / "bad.mp4").write_bytes(content)
    assert demo("--input", tmp_path / "bad.mp4") == 2
    err = capfd.readouterr().err.strip()
    assert message in err and "bad.mp4" in err and "\n" not in err
    assert not list(tmp_path.glob("out/*"))


def test_empty_folder_exits_2(demo, tmp_path):
    (tmp_path / "empty").mkdir()
    assert demo("--input", tmp_path / "empty") == 2


def test_container_without_frames_leaves_an_empty_jsonl_and_exits_2(demo, tmp_path, capfd):
    with av.open(str(tmp_path / "a.avi"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        file.start_encoding()
    assert demo("--input", tmp_path / "a.avi") == 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.jsonl"] and lines(
        tmp_path / "out" / "a.jsonl"
    ) == []
    assert "no frame could be decoded" in capfd.readouterr().err


@pytest.mark.parametrize("strict, code", [((), 0), (("--strict",), 3)])
def test_video_cut_short_gives_what_is_there_with_one_warning(demo, tmp_path, capfd, strict, code):
    with av.open(str(tmp_path / "a.webm"), "w") as file:
        stream = file.add_stream("libvpx-vp9", rate=10, options={"cpu-used": "8", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in pictures(60):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        file.mux(stream.encode(None))
    data = (tmp_path / "a.webm").read_bytes()
    (tmp_path / "a.webm").write_bytes(data[: len(data) // 2])
    assert demo("--input", tmp_path / "a.webm", *strict) == code
    count = len(lines(tmp_path / "out" / "a.jsonl"))
    assert 0 < count < 60 and len(frames_of(tmp_path / "out" / "a.mp4")) == count
    assert capfd.readouterr().err.count(f"a.webm: decoded {count} of 60 declared frames") == 1


def test_truncated_picture_stops_with_exit_3_and_keeps_the_frames_before(demo, folder, tmp_path, capfd):
    truncate(folder / "5.png")
    assert demo("--input", folder) == 3
    assert [r["index"] for r in lines(tmp_path / "out" / "frames.jsonl")] == [0, 1, 2, 3, 4]
    assert len(frames_of(tmp_path / "out" / "frames.mp4")) == 5
    err = capfd.readouterr().err
    assert "frame 5" in err and "5.png" in err and "--on-error skip" in err


@pytest.mark.parametrize("strict, code", [((), 0), (("--strict",), 3)])
def test_truncated_picture_skipped_is_noted_in_its_line(demo, folder, tmp_path, capfd, strict, code):
    truncate(folder / "5.png")
    assert demo("--input", folder, "--on-error", "skip", *strict) == code
    records = lines(tmp_path / "out" / "frames.jsonl")
    assert [r["index"] for r in records] == list(range(8)) and [
        i for i, r in enumerate(records) if "error" in r
    ] == [5]
    assert records[5]["boxes"] == [] and len(frames_of(tmp_path / "out" / "frames.mp4")) == 8
    out, err = capfd.readouterr()
    assert "8 frames (1 unreadable)" in out and "1 of 8 frames" in err


def test_change_of_size_keeps_boxes_in_each_frames_own_pixels(demo, folder, tmp_path):
    Image.fromarray(np.zeros((96, 128, 3), np.uint8)).save(folder / "3.png")
    assert demo("--input", folder) == 0
    boxes = [r["boxes"][0] for r in lines(tmp_path / "out" / "frames.jsonl")]
    assert boxes[3] == [32, 24, 96, 72] and boxes[2] == boxes[4] == [16, 12, 48, 36]
    assert {image.shape for image in frames_of(tmp_path / "out" / "frames.mp4")} == {(48, 64, 3)}


@pytest.mark.parametrize("size", [(33, 47), (1, 1), (1, 30)])
def test_odd_and_tiny_pictures_keep_their_boxes_inside(demo, tmp_path, size):
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / "tiny.png")
    assert demo("--input", tmp_path / "tiny.png") == 0
    (record,) = lines(tmp_path / "out" / "tiny.jsonl")
    assert record["boxes"][0][2] <= size[1] and record["boxes"][0][3] <= size[0]
    written = frames_of(tmp_path / "out" / "tiny.mp4")[0].shape[:2]
    assert written == tuple(n + n % 2 for n in size)


def test_large_picture_works(demo, tmp_path):
    Image.new("RGB", (8000, 6000)).save(tmp_path / "large.jpg")
    assert demo("--input", tmp_path / "large.jpg", "--no-video") == 0
    assert lines(tmp_path / "out" / "large.jsonl")[0]["boxes"] == [[2000, 1500, 6000, 4500]]


def test_existing_output_is_refused_until_overwrite(demo, clip, tmp_path, capfd):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clip.mp4").write_text("earlier")
    assert demo("--input", clip) == 2
    assert (
        tmp_path / "out" / "clip.mp4"
    ).read_text() == "earlier" and "--overwrite" in capfd.readouterr().err
    assert not (tmp_path / "out" / "clip.jsonl").exists()
    assert demo("--input", clip, "--overwrite") == 0
    assert len(frames_of(tmp_path / "out" / "clip.mp4")) == 12


def test_input_is_not_overwritten_even_so(demo, clip, capfd):
    before = clip.read_bytes()
    assert demo("--input", clip, "--output", clip.parent, "--overwrite") == 2
    assert clip.read_bytes() == before and "input itself" in capfd.readouterr().err


def test_output_that_cannot_be_a_folder_exits_2_before_decoding(demo, clip, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(CentreModel, "stream", lambda *_: pytest.fail("decoding had begun"))
    assert demo("--input", clip, "--output", tmp_path / "file" / "out") == 2


def test_interrupt_keeps_whole_files_and_exits_130(demo, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(CentreModel, "interrupt_at", 6)
    assert demo("--input", clip) == 130
    assert [r["index"] for r in lines(tmp_path / "out" / "clip.jsonl")] == list(range(7))
    assert len(frames_of(tmp_path / "out" / "clip.mp4")) == 7
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["clip.jsonl", "clip.mp4"]


def test_failure_of_the_model_leaves_nothing_half_written(demo, clip, tmp_path, monkeypatch):
    def failing(self, frames, sampler=None):
        yield from ()
        raise ZeroDivisionError

    monkeypatch.setattr(CentreModel, "stream", failing)
    assert demo("--input", clip) == 1
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", ["a b.mp4", "é'\"quote.mp4", "-dash.mp4", "new\nline.mp4"])
def test_file_names_with_odd_characters_work(demo, clip, tmp_path, monkeypatch, capfd, name):
    clip.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert demo(f"--input={name}") == 0
    stem = name.removesuffix(".mp4")
    assert len(lines(tmp_path / "out" / f"{stem}.jsonl")) == len(frames_of(tmp_path / "out" / name)) == 12
    assert len(capfd.readouterr().out.strip().splitlines()) == 1


def test_wrong_usage_exits_2(demo, clip):
    assert demo("--input", clip, "--policy", "gird") == 2
    assert demo("--input", clip, "--max-frames", 0) == 2
    assert demo("--input", clip, "--fps", -1) == 2
    assert demo("--input", "camera:x") == 2


def test_script_itself_reports_a_missing_input_without_a_traceback(tmp_path, monkeypatch, capfd):
    arguments = ["--config-file", CONFIG, "--input", "nothing.mp4", "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(SCRIPT, run_name="__main__")
    assert capfd.readouterr().err.startswith("error: input not found: nothing.mp4")
