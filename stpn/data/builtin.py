"""The data sets known by name. One entry a name; nothing is read before DatasetCatalog.get(name)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

from detectron2.data import DatasetCatalog, MetadataCatalog

from .datasets import load_imagenet_det, load_imagenet_vid
from .datasets.image_sets import find_root
from .video import VideoIndex


class Entry(NamedTuple):
    """load(root, lists, video_index=) -> (dicts, metadata). folders: names of the root under
    DETECTRON2_DATASETS; lists: names of the list file; in both the first that exists counts."""

    load: Callable
    folders: tuple
    lists: tuple


_IMAGENET = ("ILSVRC2015", "ILSVRC")
_VAL_LISTS = ("VID_val_videos", "VID_val_frames")
_TRAIN_LISTS = ("VID_train_frames", "VID_train_15frames", "VID_train_videos")
_tenth = functools.partial(load_imagenet_vid, every=10)

ENTRIES = {
    "imagenet_vid_train_15frames": Entry(load_imagenet_vid, _IMAGENET, ("VID_train_15frames",)),
    "imagenet_det_30cls": Entry(load_imagenet_det, _IMAGENET, ("DET_train_30classes",)),
    "imagenet_vid_val": Entry(load_imagenet_vid, _IMAGENET, _VAL_LISTS),
    "imagenet_vid_val_mini": Entry(_tenth, _IMAGENET, _VAL_LISTS),  # every 10th video
    # The generated set (stpn/data/toy.py): videos of 32 frames, and stills for the common start.
    "toy_vid_train": Entry(load_imagenet_vid, ("toy_vid",), _TRAIN_LISTS),
    "toy_vid_val": Entry(load_imagenet_vid, ("toy_vid",), _VAL_LISTS),
    "toy_still_train": Entry(load_imagenet_vid, ("toy_still",), _TRAIN_LISTS),
    # A small set of real video in the same layout, for tests and first trials.
    "vid_mini_train": Entry(load_imagenet_vid, ("vid_mini",), ("VID_train_15frames",)),
    "vid_mini_train_all": Entry(load_imagenet_vid, ("vid_mini",), ("VID_train_frames",)),
    "vid_mini_val": Entry(load_imagenet_vid, ("vid_mini",), _VAL_LISTS),
    "vid_mini_val_disjoint": Entry(load_imagenet_vid, ("vid_mini",), ("VID_val_videos_disjoint",)),
}


def register_all():
    """Register every entry with detectron2's catalogs; entries that are registered already stay."""
    for name, entry in ENTRIES.items():
        if name not in DatasetCatalog:
            register(name, entry)


def register(name, entry):
    """Make a data set known to detectron2. Its metadata have evaluator_type and an empty video_index at once,
    the rest (thing_classes, filled index, ...) after the first DatasetCatalog.get(name)."""
    metadata = MetadataCatalog.get(name).set(evaluator_type="imagenet_vid", video_index=VideoIndex())
    DatasetCatalog.register(name, functools.partial(_load, entry, metadata))


def _load(entry, metadata):
    metadata.video_index.clear()
    dicts, loaded = entry.load(find_root(entry.folders), entry.lists, video_index=metadata.video_index)
    # Not by attribute: Metadata refuses a second value, and DETECTRON2_DATASETS may have changed.
    vars(metadata).update(loaded)
    return dicts
