"""What a dataset expects: its labelled frames, and their boxes as one GroundTruth."""

import logging
from dataclasses import dataclass

import numpy as np
from detectron2.structures import BoxMode

from ..errors import InputError
from .motion import motion_from_table, motion_iou
from .tables import GroundTruth

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledFrames:
    """image_id: (F,) int, ascending; video_id: F strings; frame_index: (F,) 0-based; size: (F, 2) width and height
    in pixels, infinite where they are not known, or None. Its row is the frame number that GroundTruth and
    Detections use."""

    image_id: np.ndarray
    video_id: list
    frame_index: np.ndarray
    size: np.ndarray | None = None

    def __len__(self):
        return len(self.image_id)

    def name(self, row):
        return f"{self.video_id[row]} frame {self.frame_index[row]} (image id {self.image_id[row]})"


def load_truth(dicts, *, num_classes, motion_file=None):
    """dicts: one per labelled frame {image_id, video_id, frame_index, annotations}, in any order.
    -> LabelledFrames, GroundTruth with motion IoU (from motion_file if given, else from the tracks; None
    without track ids)."""
    dicts = sorted(dicts, key=lambda d: d["image_id"])
    frames = LabelledFrames(
        image_id=np.array([d["image_id"] for d in dicts], dtype=np.int64),
        video_id=[d["video_id"] for d in dicts],
        frame_index=np.array([d["frame_index"] for d in dicts], dtype=np.int64),
        size=np.array([(d.get("width", np.inf), d.get("height", np.inf)) for d in dicts], np.float32).reshape(-1, 2),
    )
    _check_unique(frames)
    boxes = [(row, a) for row, d in enumerate(dicts) for a in d["annotations"]]
    truth = GroundTruth(
        frame=np.array([row for row, _ in boxes], dtype=np.int64),
        label=np.array([a["category_id"] for _, a in boxes], dtype=np.int64),
        box=np.array([_corners(a) for _, a in boxes], dtype=np.float64).reshape(-1, 4),
        num_frames=len(frames),
    )
    _check_boxes(boxes, frames, truth, num_classes)
    motion = _motion(boxes, frames, truth, motion_file)
    return frames, GroundTruth(truth.frame, truth.label, truth.box, len(frames), motion)


def _corners(annotation):
    if annotation["bbox_mode"] == BoxMode.XYXY_ABS:
        return annotation["bbox"]
    return BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)


def _check_unique(frames):
    repeated = np.flatnonzero(np.diff(frames.image_id) == 0)
    if repeated.size:
        row = repeated[0]
        raise InputError(
            f"dataset: {frames.name(row)} and {frames.name(row + 1)} share one image id; "
            "give every labelled frame its own"
        )


def _check_boxes(boxes, frames, truth, num_classes):
    wrong = np.flatnonzero(
        (truth.label < 0) | (truth.label >= num_classes) | ~np.isfinite(truth.box).all(axis=1)
    )
    if wrong.size:
        row, annotation = boxes[wrong[0]]
        raise InputError(
            f"dataset: {frames.name(row)} has a box {annotation['bbox']} of category "
            f"{annotation['category_id']}; expected finite corners and a category in 0..{num_classes - 1}"
        )
    crowd = [row for row, a in boxes if a.get("iscrowd", 0)]
    if crowd:
        raise InputError(
            f"dataset: {frames.name(crowd[0])} has a crowd region (iscrowd 1), which ImageNet-VID-style "
            "evaluation does not know; remove it or mark it as an ordinary box"
        )


def _motion(boxes, frames, truth, motion_file):
    if motion_file:
        counts = np.bincount(truth.frame, minlength=len(frames))
        return motion_from_table(motion_file, image_ids=frames.image_id, counts=counts)
    if any(a.get("track_id") in (None, -1) for _, a in boxes):  # -1: the annotation file had none
        logger.warning(
            "The dataset has boxes without track_id: AP50 by motion (slow, medium, fast) is undefined."
        )
        return None
    numbers = {}
    # Track ids are unique inside a video only.
    track = [numbers.setdefault((frames.video_id[row], a["track_id"]), len(numbers)) for row, a in boxes]
    frame = frames.frame_index[truth.frame]
    return motion_iou(track=np.array(track, dtype=np.int64), frame=frame, box=truth.box)
