"""VideoPredictor with a tracker: boxes of the targets go in, a box for each of them comes out, and JSON lines of it."""

import itertools
import json
import time
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_vis import vis_config
from tiny_vot import moving_square, vot_config, vot_model

from stpn import VideoPredictor
from stpn.data.source import open_source
from stpn.data.video import Frame
from stpn.engine.start_boxes import BoxError
from stpn.engine.video_run import run_video
from stpn.errors import InputError
from stpn.meta_arch.tracker import Track
from stpn.prompting import SupportCache, SupportSampler

BOXES = [[10, 15, 20, 20], [40, 30, 16, 12]]
FAST = ("MODEL.CVT.DEPTHS", "[1, 1, 1]", "MODEL.MIXFORMER.HEAD_DIM", "16")


@pytest.fixture(scope="module")
def predictor():
    return VideoPredictor(vot_config(*FAST), model=vot_model(*FAST))


@pytest.fixture(scope="module")
def images():
    return moving_square(9)[0]


def flat(results):
    return [(r.index, round(r.time, 6), r.predictions.pred_boxes.tensor.tolist(), r.predictions.scores.tolist())
            for r in results]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def with_errors(images, broken):
    frames = [Frame(i, i / 25, image) for i, image in enumerate(images)]
    for i in broken:
        frames[i] = Frame(i, i / 25, None, error=f"frame {i} is broken")
    return open_source(frames, on_error="skip")


class Drifting:
    """A tracker whose boxes move by a pixel a frame, with scores 0.0, 0.1, 0.2, ... from frame 1 on, or None."""

    def __init__(self, scored=True):
        self.scored = scored

    def __call__(self):
        return Drifting(self.scored)

    def initialize(self, image, box):
        self.t, self.box = 0, list(box)
        return Track(list(self.box), 1.0 if self.scored else None)

    def track(self, image):
        self.t, self.box = self.t + 1, [self.box[0] + 1, *self.box[1:]]
        return Track(list(self.box), (self.t - 1) / 10 if self.scored else None)


@pytest.fixture
def drifting(predictor, monkeypatch):
    """drifting(scored) -> the predictor, its trackers replaced."""
    def replaced(scored=True):
        monkeypatch.setattr(predictor.model, "tracker", Drifting(scored), raising=False)
        return predictor
    return replaced


def test_every_target_has_the_boxes_and_scores_of_a_tracker_of_its_own(predictor, images):
    results = list(predictor.stream(images, boxes=BOXES))
    for number, box in enumerate(BOXES):
        tracker = predictor.model.tracker()
        alone = [tracker.initialize(images[0], box), *(tracker.track(image) for image in images[1:])]
        for result, (x, y, w, h), score in zip(results, *zip(*alone, strict=True), strict=True):
            found = result.predictions[number]
            np.testing.assert_allclose(found.pred_boxes.tensor[0], [x, y, x + w, y + h], atol=1e-4)
            assert (found.pred_ids.tolist(), found.pred_classes.tolist()) == ([number], [0])
            assert abs(found.scores.item() - score) < 1e-6 and found.image_size == (60, 80)
    assert [r.index for r in results] == list(range(9)) and (results[4].image == images[4]).all()


def test_call_returns_the_instances_of_every_frame(predictor, images):
    called = predictor(images, boxes=BOXES)
    assert [found.pred_boxes.tensor.tolist() for found in called] == [
        boxes for _, _, boxes, _ in flat(predictor.stream(images, boxes=BOXES))]


def test_pictures_arrays_and_a_generator_give_identical_boxes(predictor, images, tmp_path):
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    sources = (tmp_path, images, (image for image in images))
    first, *others = [flat(predictor.stream(source, boxes=BOXES)) for source in sources]
    assert others == [first, first] and len(first) == 9


def test_interleaved_videos_do_not_mix(predictor, images):
    def streams():
        return predictor.stream(images, boxes=BOXES), predictor.stream(images[::-1], boxes=BOXES)

    apart = [flat(stream) for stream in streams()]
    in_turn = zip(*zip(*streams(), strict=True), strict=True)
    assert [flat(results) for results in in_turn] == apart and apart[0] != apart[1]


def test_a_tracker_without_boxes_and_another_model_with_boxes_are_refused(predictor, images):
    with pytest.raises(InputError, match="a tracker got no boxes; expected boxes="):
        predictor.stream(images)
    with pytest.raises(InputError, match="a tracker got no boxes"):
        predictor(images)
    segmenter = mock.Mock(spec=["segment", "stream", "support_samplers"], sampler=SupportSampler())
    other = VideoPredictor(vis_config(), model=segmenter)
    for call in (other.stream, other):
        with pytest.raises(InputError, match="which finds its objects itself; leave them out"):
            call(images, boxes=BOXES)


@pytest.mark.parametrize("boxes", [[10, 20, 30, 40], [], "1,2,3,4", 5, [[1, 2, 3]], [["a", 1, 2, 3]], np.zeros((2, 5))])
def test_what_is_no_list_of_boxes_is_refused_before_the_first_frame(predictor, images, boxes):
    with pytest.raises(InputError, match=r"a list with a box for each target, \[\[x, y, w, h\], ...\]") as found:
        predictor.stream(images, boxes=boxes)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("box, said", [
    ((10, 10, 0, 5), "width and a height above 0"), ((10, 10, 5, -5), "width and a height above 0"),
    ((80, 10, 5, 5), "outside the frame of 80x60"), ((-9, 10, 9, 5), "outside the frame"),
    ((10, float("nan"), 5, 5), "finite"), ((10, 10, float("inf"), 5), "finite"),
    ((-1e9, -1e9, 2e9, 2e9), "at most 3 times its width")])
def test_boxes_that_show_nothing_of_the_frame_are_refused_with_their_number(predictor, images, box, said):
    with pytest.raises(BoxError, match=said) as found:
        next(predictor.stream(images, boxes=[BOXES[0], box]))
    assert "target 1" in str(found.value)
    assert len(predictor(images[:2], boxes=np.array(BOXES))) == 2


@pytest.mark.parametrize("policy", ["grid", "sliding", "spread"])
def test_a_policy_that_looks_ahead_is_refused(predictor, policy):
    with pytest.raises(InputError, match=f"policy is {policy}, but a tracker .* past frames alone; choose causal"):
        VideoPredictor(vot_config(), policy=policy, model=predictor.model)


def test_policy_causal_is_the_trackers_own(predictor, images):
    causal = VideoPredictor(vot_config(*FAST), policy="causal", model=predictor.model)
    assert flat(causal.stream(images, boxes=BOXES)) == flat(predictor.stream(images, boxes=BOXES))
    assert causal.sampler(open_source(images)).policy == "causal"


def test_the_baseline_tracks_without_a_sampler(images):
    off = (*FAST, "MODEL.STPN.ENABLED", "False")
    predictor = VideoPredictor(vot_config(*off), model=vot_model(*off))
    assert predictor.sampler(open_source(images)) is None and len(predictor(images, boxes=BOXES)) == 9


def test_unreadable_frames_keep_their_place_and_the_boxes_are_of_the_first_readable_one(predictor, images, caplog):
    caplog.set_level("INFO", "stpn")
    list(predictor.stream(with_errors(images, (4,)), boxes=BOXES))
    assert "the first that could be read" not in caplog.text
    results = list(predictor.stream(with_errors(images, (0, 1, 4, 8)), boxes=BOXES))
    assert "the targets start in frame 2, the first that could be read" in caplog.text
    assert [(r.index, len(r.predictions)) for r in results] == list(enumerate([0, 0, 2, 2, 0, 2, 2, 2, 0]))
    assert results[2].predictions.pred_boxes.tensor.tolist() == [[10, 15, 30, 35], [40, 30, 56, 42]]
    readable = [images[i] for i in (2, 3, 5, 6, 7)]
    assert [r[2:] for r in flat(results) if r[2]] == [r[2:] for r in flat(predictor.stream(readable, boxes=BOXES))]
    empty = results[4].predictions
    assert len(empty.pred_ids) == 0 and empty.pred_lost.dtype == torch.bool and empty.image_size == (60, 80)
    with pytest.raises(BoxError, match="outside the frame .*in frame 2, the first that can be read"):
        list(predictor.stream(with_errors(images, (0, 1)), boxes=[[100, 0, 5, 5]]))


def test_a_function_makes_the_boxes_from_the_first_frame_that_can_be_read(predictor, images):
    ask = mock.Mock(return_value=BOXES)
    asked = flat(predictor.stream(with_errors(images, (0,)), boxes=ask))
    assert asked == flat(predictor.stream(with_errors(images, (0,)), boxes=BOXES))
    ((image,), _), = ask.call_args_list
    assert (image == images[1]).all()


@pytest.mark.parametrize("frames", [[], [Frame(0, 0.0, None, error="broken")]])
def test_a_video_without_a_readable_frame_has_empty_results(predictor, frames):
    ask = mock.Mock()
    assert [len(found) for found in predictor(open_source(frames, on_error="skip"), boxes=ask)] == [0] * len(frames)
    assert not ask.called


def test_a_live_source_is_answered_frame_by_frame(predictor, images):
    read = []

    def live():
        for i, image in enumerate(images):
            read.append(i)
            yield image

    for kind in ("arrays", "camera"):
        read.clear()
        source = open_source(live())
        source.kind = kind
        for i, result in enumerate(predictor.stream(source, boxes=BOXES)):
            assert (result.index, read) == (i, list(range(i + 1)))


def test_frames_before_the_error_of_a_source_come_first(predictor, images):
    def broken():
        yield from images[:3]
        raise RuntimeError("cable pulled")

    found = []
    with pytest.raises(RuntimeError, match="cable pulled"):
        found.extend(r.index for r in itertools.islice(predictor.stream(broken(), boxes=BOXES), 3))
        list(predictor.stream(broken(), boxes=BOXES))
    assert found == [0, 1, 2]


def test_supports_that_are_kept_do_not_grow_with_the_video(predictor):
    put, most, kept = SupportCache.put, {}, []
    size, square = 30, moving_square(30)[0]

    def counting(self, index, embedding):
        put(self, index, embedding)
        kept.append(len(self._embeddings))

    with mock.patch.object(SupportCache, "put", counting):
        for length in (size // 2, size):
            kept.clear()
            for _ in predictor.stream(square[:length], boxes=BOXES[:1]):
                pass
            most[length] = max(kept)
            assert len(kept) == len(range(0, length, predictor.model.sampler.stride))
    # frame 0, FRAMES_PER_SIDE of them, the newest, and the oldest, which is forgotten when that has been put in
    assert most[size // 2] == most[size] <= predictor.model.sampler.frames + 3


def test_boxes_are_in_the_pixels_of_each_frame_when_its_size_changes(predictor):
    mixed = [np.zeros((60, 80, 3), np.uint8)] * 2 + [np.zeros((120, 240, 3), np.uint8)] * 2
    found = predictor(mixed, boxes=[[20, 15, 20, 20]])
    assert [f.image_size for f in found] == [(60, 80)] * 2 + [(120, 240)] * 2
    assert all((f.pred_boxes.tensor[0, 2:] <= torch.tensor(f.image_size[::-1]) + 1e-3).all() for f in found)


def run(predictor, images, tmp_path, **more):
    source = images if hasattr(images, "kind") else open_source(images)
    totals = run_video(predictor, source, jsonl_path=tmp_path / "a.jsonl", video_path=tmp_path / "a.mp4",
                       progress=False, boxes=BOXES, **more)
    return totals, lines(tmp_path / "a.jsonl")


def test_json_lines_hold_numbers_scores_and_whether_the_target_is_lost(drifting, images, tmp_path):
    totals, records = run(drifting(), with_errors(images, (3,)), tmp_path)
    assert records[0]["boxes"] == [[10, 15, 30, 35], [40, 30, 56, 42]]
    assert records[1]["boxes"] == [[11, 15, 31, 35], [41, 30, 57, 42]] and records[1]["labels"] == ["target"] * 2
    assert records[0]["scores"] == [1, 1] and records[2]["scores"] == [0.1, 0.1]
    assert all(r["track_ids"] == [0, 1] and r["policy"] == "causal" for r in records if "error" not in r)
    # Scores of frame 1 on: 0, 0.1, -, 0.2, 0.3, 0.4, 0.5, 0.6; the configuration's LOST_SCORE is 0.5.
    both, none = [True] * 2, [False] * 2
    assert [r["lost"] for r in records] == [none, both, both, [], both, both, both, none, none]
    assert totals.lost == {0: 5, 1: 5} and totals.tracks == {0, 1} and totals.unscored == 0


def test_a_threshold_that_is_given_replaces_the_trackers_own_and_drops_no_box(drifting, images, tmp_path):
    totals, records = run(drifting(), images, tmp_path, score_threshold=0.25)
    assert totals.lost == {0: 3, 1: 3} and all(len(r["boxes"]) == 2 for r in records)


def test_without_a_score_head_scores_are_null_and_nothing_is_lost(drifting, images, tmp_path):
    totals, records = run(drifting(scored=False), images, tmp_path)
    assert all(r["scores"] == [None, None] and r["lost"] == [False, False] for r in records)
    assert totals.lost == {0: 0, 1: 0} and totals.unscored == 18


def test_a_box_that_cannot_be_used_leaves_no_file(predictor, images, tmp_path):
    with pytest.raises(BoxError):
        run_video(predictor, open_source(images), jsonl_path=tmp_path / "a.jsonl", boxes=[[99, 99, 1, 1]],
                  progress=False)
    assert not list(tmp_path.iterdir())


def test_waiting_for_a_box_does_not_count_as_running(drifting, images, tmp_path):
    def slow(image):
        time.sleep(0.2)
        return BOXES

    start = time.perf_counter()
    totals = run_video(drifting(), open_source(images), jsonl_path=tmp_path / "a.jsonl", boxes=slow, progress=False)
    assert totals.frames == 9 and 0 < totals.seconds <= time.perf_counter() - start - 0.2
