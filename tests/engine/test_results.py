"""Files that a run leaves: whole, playable, true to the frames, or not there at all."""

import json
import resource
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st

from stpn.engine.drawing import class_color, draw_detections, draw_note
from stpn.engine.predictor import FrameResult
from stpn.engine.results import JsonLinesWriter, frame_record, prepare_output
from stpn.engine.video_writer import VideoWriter, letterbox
from stpn.errors import InputError, run_script


def grey(value, size=(48, 64)):
    return np.full((*size, 3), value, np.uint8)


def write_video(path, images, *, fps=10, times=None, comment=""):
    with VideoWriter(path, fps=fps, comment=comment) as video:
        for i, image in enumerate(images):
            video.write(image, times[i] if times else i / fps)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        return (
            stream,
            [(p.time, p.to_ndarray(format="rgb24")) for p in file.decode(stream)],
            dict(file.metadata),
        )


def result(boxes=(), *, size=(48, 64), error=None):
    found = Instances(
        size,
        pred_boxes=Boxes(torch.tensor(boxes).reshape(-1, 4)),
        scores=torch.full((len(boxes),), 0.9),
        pred_classes=torch.arange(len(boxes)) % 3,
    )
    return FrameResult(3, 0.12, grey(50, size), found, error)


def test_video_plays_in_browsers(tmp_path):
    path = tmp_path / "a.mp4"
    stream, frames, metadata = write_video(
        path, [grey(10 * i) for i in range(12)], comment="support policy grid"
    )
    assert (stream.codec.name, stream.pix_fmt, stream.frames) == ("h264", "yuv420p", 12)
    assert float(stream.average_rate) == 10 and metadata["comment"] == "support policy grid"
    data = path.read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")  # starts to play before it is loaded
    assert all(abs(int(image.mean()) - 10 * i) <= 3 for i, (_, image) in enumerate(frames))
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_colours_survive_the_writing(tmp_path):
    colours = np.kron(
        np.array([[[255, 0, 0], [0, 200, 0]], [[0, 0, 255], [200, 150, 100]]], np.uint8),
        np.ones((32, 32, 1), np.uint8),
    )
    _, ((_, image), *_), _ = write_video(tmp_path / "a.mp4", [colours] * 2)
    for y, x in ((16, 16), (16, 48), (48, 16), (48, 48)):
        assert np.abs(image[y, x].astype(int) - colours[y, x]).max() <= 6


def test_frames_keep_their_times(tmp_path):
    times = [0, 0.04, 0.05, 0.3, 2.0]
    _, frames, _ = write_video(tmp_path / "a.mp4", [grey(9)] * 5, times=times)
    np.testing.assert_allclose([t for t, _ in frames], times, atol=1e-3)


def test_frames_at_the_same_time_do_not_break_the_file(tmp_path):
    assert len(write_video(tmp_path / "a.mp4", [grey(9)] * 4, times=[0, 0.1, 0.1, 0.05])[1]) == 4


@pytest.mark.parametrize("size, written", [((33, 47), (34, 48)), ((1, 1), (2, 2)), ((1, 50), (2, 50))])
def test_odd_sizes_are_padded_to_even_ones(tmp_path, size, written):
    _, frames, _ = write_video(tmp_path / "a.mp4", [grey(77, size)] * 2)
    assert frames[0][1].shape[:2] == written and abs(int(frames[0][1].mean()) - 77) <= 3


def test_frames_of_another_size_are_letterboxed_with_one_warning(tmp_path, caplog):
    images = [grey(200), grey(200, (64, 32)), grey(200, (24, 32))]
    _, frames, _ = write_video(tmp_path / "a.mp4", images)
    shapes = {image.shape for _, image in frames}
    assert shapes == {(48, 64, 3)}
    tall, small = frames[1][1], frames[2][1]
    assert tall[:, :16].mean() < 20 and tall[:, 26:38].mean() > 180 and small.mean() > 190
    assert len([r for r in caplog.records if "32x64" in r.getMessage()]) == 1 and len(caplog.records) == 1


def test_letterbox_keeps_the_proportions():
    boxed = letterbox(grey(255, (10, 40)), (48, 64))
    rows = np.nonzero(boxed.max((1, 2)) > 127)[0]
    assert len(rows) == 16 and boxed.max(axis=(0, 2)).min() > 127


def test_video_without_a_frame_leaves_no_file(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=25):
        pass
    assert not list(tmp_path.iterdir())


def test_error_leaves_the_files_of_an_earlier_run_as_they_were(tmp_path):
    for name in ("a.mp4", "a.jsonl"):
        (tmp_path / name).write_text("earlier")
    with pytest.raises(RuntimeError, match="model"):
        with JsonLinesWriter(tmp_path / "a.jsonl") as lines, VideoWriter(tmp_path / "a.mp4", fps=25) as video:
            lines.write({"index": 0})
            video.write(grey(1), 0)
            raise RuntimeError("model")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "a.mp4"]
    assert all(p.read_text() == "earlier" for p in tmp_path.iterdir())


@pytest.fixture
def full_disk():
    """Files end at 50,000 bytes, which looks like a full disk to who writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_much_json(path):
    with JsonLinesWriter(path) as lines:
        for i in range(1000):
            lines.write({"index": i, "boxes": list(range(100))})


def write_much_video(path):
    noise = np.random.default_rng(0)
    with VideoWriter(path, fps=25) as video:
        for i in range(12):
            video.write(noise.integers(0, 256, (240, 320, 3), dtype=np.uint8), i / 25)


@pytest.mark.parametrize("write, name", [(write_much_json, "a.jsonl"), (write_much_video, "a.mp4")])
def test_full_disk_says_no_space_and_keeps_the_earlier_file(tmp_path, full_disk, capsys, write, name):
    (tmp_path / name).write_text("earlier")
    with pytest.raises(SystemExit, match="1"):
        run_script(lambda: write(tmp_path / name))
    assert capsys.readouterr().err.startswith("no space: ")
    assert [p.name for p in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "earlier"


def test_record_holds_plain_rounded_numbers():
    record = frame_record(result([[1.23456, 2, 30, 40]]), ["dog", "cat", "cow"], policy="grid")
    assert record == {
        "index": 3,
        "time": 0.12,
        "policy": "grid",
        "boxes": [[1.23, 2, 30, 40]],
        "scores": [0.9],
        "labels": ["dog"],
    }
    assert frame_record(result(error="gone"), [], policy="grid")["error"] == "gone"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 5000, width=32)] * 4), max_size=5), st.text(max_size=20))
def test_lines_read_back_as_written(tmp_path_factory, boxes, name):
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    record = frame_record(result([list(box) for box in boxes]), [name] * 3, policy=name)
    with JsonLinesWriter(path) as lines:
        lines.write(record)
        lines.write(record)
    assert [json.loads(line) for line in path.read_text().split("\n")[:-1]] == [record, record]
    assert np.allclose(record["boxes"], np.reshape(boxes, (-1, 4)) if boxes else [], rtol=0, atol=0.006)


def test_output_folder_is_made_and_checked(tmp_path):
    (path,) = prepare_output(tmp_path / "new" / "folder", ["a.mp4"])
    assert path == str(tmp_path / "new" / "folder" / "a.mp4") and not list(
        (tmp_path / "new" / "folder").iterdir()
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write into output folder"):
        prepare_output(tmp_path / "file" / "out", ["a.mp4"])


def test_existing_output_is_refused_without_overwrite(tmp_path):
    (tmp_path / "a.mp4").write_text("earlier")
    with pytest.raises(InputError, match="--overwrite"):
        prepare_output(tmp_path, ["a.mp4"])
    assert prepare_output(tmp_path, ["a.mp4"], overwrite=True)
    assert (tmp_path / "a.mp4").read_text() == "earlier"


def test_input_is_never_overwritten(tmp_path):
    (tmp_path / "a.mp4").write_text("input")
    with pytest.raises(InputError, match="is the input itself"):
        prepare_output(tmp_path, ["a.mp4"], overwrite=True, source=str(tmp_path / "a.mp4"))


def test_drawing_colours_the_box_of_each_class_alike_and_leaves_the_frame_alone():
    before = result([[8, 8, 40, 40]], size=(120, 160))
    image = draw_detections(before.image, before.predictions, ["dog"])
    assert image.shape == (120, 160, 3) and image.dtype == np.uint8 and before.image.max() == 50
    edge = image[24, 6:11].astype(int)
    colour = np.array(class_color(0)) * 255
    assert np.abs(edge - colour).sum(1).min() < 150 and np.abs(image[100, 100].astype(int) - 50).max() <= 1
    assert class_color(2) == class_color(2) != class_color(3)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 23), (33, 301)])
def test_drawing_works_on_any_size(size):
    drawn = draw_detections(grey(5, size), result([[0, 0, 1, 1]], size=size).predictions, ["dog"])
    assert drawn.shape == (*size, 3) and draw_note(grey(5, size), "unreadable").shape == (*size, 3)


def test_frame_rates_of_television_stay_exact(tmp_path):
    rate = Fraction(30000, 1001)
    stream, _, _ = write_video(tmp_path / "a.mp4", [grey(1)] * 31, fps=float(rate))
    assert abs(float(stream.average_rate) - float(rate)) < 0.01
