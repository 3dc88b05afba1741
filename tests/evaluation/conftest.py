"""Random video detection sets, small, with the accidents that break metrics: ties, empty frames, crowded
ones."""

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances

from stpn.evaluation.tables import Detections, GroundTruth


def _random_set(seed, *, frames=12, classes=3, integer=False):
    """-> Detections, GroundTruth with motion. integer: whole-number boxes and scores of one decimal (many
    ties)."""
    rng = np.random.default_rng(seed)
    boxes = []
    for frame in range(frames):
        for _ in range(rng.choice([0, 1, 2, 5])):
            xy, wh = rng.integers(0, 60, 2), rng.integers(4, 120, 2)
            boxes.append((frame, rng.integers(classes), *xy, *(xy + wh), rng.uniform(0.3, 1.0)))
    truth = np.array(boxes, dtype=np.float64).reshape(-1, 7)
    found = truth[rng.random(len(truth)) < 0.8].repeat(2, axis=0)
    noise = rng.normal(0, 6, (len(found), 4))
    stray = rng.uniform(0, 100, (frames, 4))
    box = np.concatenate(
        [found[:, 2:6] + noise, np.concatenate([stray[:, :2], stray[:, :2] + stray[:, 2:]], 1)]
    )
    label = np.concatenate([found[:, 1], rng.integers(0, classes, frames)])
    label = np.where(rng.random(len(label)) < 0.1, rng.integers(0, classes, len(label)), label)
    frame = np.concatenate([found[:, 0], rng.integers(0, frames, frames)])
    score = rng.random(len(label))
    if integer:
        box, score = box.round(), score.round(1)
    return (
        Detections(frame.astype(int), label.astype(int), box.astype(np.float32), score),
        GroundTruth(truth[:, 0].astype(int), truth[:, 1].astype(int), truth[:, 2:6], frames, truth[:, 6]),
    )


@pytest.fixture(scope="session")
def random_set():
    return _random_set


def _as_videos(detections, truth, rng):
    """Cut a set into videos of 1 to 4 frames. Image ids are the frame numbers plus 1; everything else is shuffled:
    the dataset's dicts, the boxes of a frame, the videos, the detections of a frame.
    -> dicts, [(sample, Instances per frame)] as ImageNetVIDEvaluator.process takes them, and the content of a motion
    table file."""
    cuts = np.cumsum(rng.integers(1, 5, truth.num_frames))
    video, start = np.searchsorted(cuts, np.arange(truth.num_frames), side="right"), np.append(0, cuts)
    truth, detections = (table.take(rng.permutation(len(table))) for table in (truth, detections))
    dicts = [
        {"image_id": f + 1, "height": 400, "width": 400, "video_id": f"val/{video[f]}",
         "frame_index": f - int(start[video[f]]), "video_length": 4,
         "annotations": [{"bbox": truth.box[g].tolist(), "bbox_mode": BoxMode.XYXY_ABS, "iscrowd": 0,
                          "category_id": int(truth.label[g])} for g in np.flatnonzero(truth.frame == f)]}
        for f in range(truth.num_frames)
    ]  # fmt: skip
    pairs = []
    for v in rng.permutation(np.unique(video)):
        frames = np.flatnonzero(video == v)
        sample = {"video_id": f"val/{v}", "image_ids": [int(f) + 1 for f in frames]}
        pairs.append((sample, [_instances(detections.take(detections.frame == f)) for f in frames]))
    cells = np.empty((truth.num_frames, 1), dtype=object)
    for f in range(truth.num_frames):
        cells[f, 0] = np.zeros((1, 0)) if truth.motion is None else truth.motion[truth.frame == f].reshape(-1, 1)
    return [dicts[i] for i in rng.permutation(len(dicts))], pairs, {"motion_iou": cells}


def _instances(table):
    found = Instances((400, 400))
    found.pred_boxes = Boxes(torch.from_numpy(table.box.astype(np.float32)).reshape(-1, 4))
    found.pred_classes = torch.from_numpy(table.label)
    found.scores = torch.from_numpy(table.score.astype(np.float32))
    return found


@pytest.fixture(scope="session")
def as_videos():
    return _as_videos


@pytest.fixture
def register(request):
    """register(dicts, classes, **metadata) makes a data set of them for one test -> its name."""
    names = []

    def add(dicts, classes, **metadata):
        names.append(f"stpn_test_{request.node.name}_{len(names)}")
        DatasetCatalog.register(names[-1], lambda: dicts)
        MetadataCatalog.get(names[-1]).set(thing_classes=classes, evaluator_type="imagenet_vid", **metadata)
        return names[-1]

    yield add
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
