"""The labelled objects of a data set of boxes in videos: which are looked at, and in which groups."""

from typing import NamedTuple

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog

from ..data.builtin import ensure_registered
from ..errors import InputError
from ..evaluation.tables import GroundTruth
from ..evaluation.truth import LabelledFrames, load_truth
from ..evaluation.vid_ap import MOTION_RANGES


class LabelledObjects(NamedTuple):
    """frames: LabelledFrames; truth: GroundTruth, a row for each of the M objects; metadata: the data set's."""

    frames: LabelledFrames
    truth: GroundTruth
    metadata: object

    def videos(self, rows):
        """rows: (n,) of objects -> list of the n ids of their videos."""
        return [self.frames.video_id[frame] for frame in self.truth.frame[rows]]

    def times(self, rows):
        """-> (n,) frame numbers in the video."""
        return self.frames.frame_index[self.truth.frame[rows]]


def load_objects(name):
    """name: of a data set -> LabelledObjects. InputError for sets of masks or tracks."""
    ensure_registered([name])
    metadata = MetadataCatalog.get(name)
    if metadata.get("evaluator_type") != "imagenet_vid":
        raise InputError(f"{name} has evaluator_type {metadata.get('evaluator_type')!r}; expected a set of labelled "
                         "boxes in videos (imagenet_vid)")
    dicts = DatasetCatalog.get(name)  # the metadata are complete now
    return LabelledObjects(*load_truth(dicts, num_classes=len(metadata.thing_classes),
                                       motion_file=metadata.get("motion_iou_file")), metadata)


def choose_objects(objects, *, videos=0, frames_per_video=0):
    """videos, frames_per_video: so many, spread evenly over those with an object; 0: all. -> {video id: {t: rows of the
    objects in frame t, a list}}, t ascending."""
    rows = {}
    everything = np.arange(len(objects.truth))
    for row, video, t in zip(everything.tolist(), objects.videos(everything), objects.times(everything).tolist(),
                             strict=True):
        rows.setdefault(video, {}).setdefault(t, []).append(row)
    return {video: {t: rows[video][t] for t in _evenly(sorted(rows[video]), frames_per_video)}
            for video in _evenly(list(rows), videos)}


def _evenly(items, count):
    if not count or count >= len(items):
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def group_objects(objects, split_by):
    """split_by: "speed", "all", or names of the data set's groups of frames, separated by commas.

    -> {group: (M,) bool}, first "all". Speeds are the evaluation's: slow, medium and fast by motion IoU, a box on the
    border of two in both. InputError for what the data set cannot say."""
    frames, truth, metadata = objects
    groups = {"all": np.ones(len(truth), dtype=bool)}
    if split_by == "all":
        return groups
    if split_by != "speed":
        return groups | {name: _of_frames(objects, name) for name in split_by.split(",")}
    if truth.motion is None:
        raise InputError(f"{metadata.name} has boxes without track_id, so that their speed is not known; split by all, "
                         "or by groups of frames")
    return groups | {name: (truth.motion >= low) & (truth.motion <= high)
                     for name, (low, high) in MOTION_RANGES.items()}


def _of_frames(objects, name):
    frames, truth, metadata = objects
    known = metadata.get("frame_groups") or {}
    if name not in known:
        raise InputError(f"cannot split by {name!r}; expected speed, all, or groups of frames of {metadata.name}: "
                         f"{', '.join(known) or 'it has none'}")
    return np.isin(frames.image_id, list(known[name]))[truth.frame]
