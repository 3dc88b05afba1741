"""The data sets known by name: one entry a name, and below DETECTRON2_DATASETS every JSON of the plain format or in
YouTube-VIS form and every folder of tracking sequences. Nothing is read before DatasetCatalog.get(name)."""

import difflib
import functools
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import NamedTuple

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..errors import InputError
from .datasets import load_imagenet_det, load_imagenet_vid, load_video_json, load_ytvis
from .datasets.image_sets import data_folder, find_root
from .datasets.imagenet_vid import CLASSES as IMAGENET_CLASSES
from .datasets.imagenet_vid import read_classes
from .datasets.video_json import read_categories
from .datasets.ytvis import is_ytvis_json, read_ytvis_categories
from .toy_scene import CLASSES as TOY_CLASSES
from .tracking_sets import TRACKING_ENTRIES, TRACKING_TYPES, empty_set, own_set
from .video import VideoIndex
from .vis_sets import VIS_ENTRIES

__all__ = ["ENTRIES", "TRACKING_TYPES", "Entry", "PlainEntry", "ensure_registered", "known_classes", "merged_index",
           "plain_file", "register", "register_all"]


class Entry(NamedTuple):
    """load(root, lists, video_index=) -> (dicts, metadata). folders: names of the root under
    DETECTRON2_DATASETS; lists: names of the list file; in both the first that exists counts. classes: names of
    its classes where the folder is not there to say it."""

    load: Callable
    folders: tuple
    lists: tuple
    classes: tuple = tuple(IMAGENET_CLASSES.values())

    evaluator_type = "imagenet_vid"

    def read(self, *, video_index):
        return self.load(find_root(self.folders), self.lists, video_index=video_index)

    def known_classes(self):
        """-> list of class names; those of the data set's folder where it is there."""
        try:
            return list(read_classes(find_root(self.folders)).values())
        except FileNotFoundError:
            return list(self.classes)


class PlainEntry(NamedTuple):
    """A JSON file of the user's, by the data set's name. load(path, video_index=, name=) -> (dicts, metadata)."""

    name: str
    load: Callable = load_video_json
    evaluator_type: str = "imagenet_vid"

    def read(self, *, video_index):
        path = plain_file(self.name)
        if path is None:
            raise InputError(_unknown(self.name))
        return self.load(path, video_index=video_index, name=self.name)


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
    "toy_vid_train": Entry(load_imagenet_vid, ("toy_vid",), _TRAIN_LISTS, TOY_CLASSES),
    "toy_vid_val": Entry(load_imagenet_vid, ("toy_vid",), _VAL_LISTS, TOY_CLASSES),
    "toy_still_train": Entry(load_imagenet_vid, ("toy_still",), _TRAIN_LISTS, TOY_CLASSES),
    # A small set of real video in the same layout, for tests and first trials.
    "vid_mini_train": Entry(load_imagenet_vid, ("vid_mini",), ("VID_train_15frames",)),
    "vid_mini_train_all": Entry(load_imagenet_vid, ("vid_mini",), ("VID_train_frames",)),
    "vid_mini_val": Entry(load_imagenet_vid, ("vid_mini",), _VAL_LISTS),
    "vid_mini_val_disjoint": Entry(load_imagenet_vid, ("vid_mini",), ("VID_val_videos_disjoint",)),
    **VIS_ENTRIES,
    **TRACKING_ENTRIES,
}


def register_all():
    """Register every entry with detectron2's catalogs; entries that are registered already stay."""
    for name, entry in ENTRIES.items():
        if name not in DatasetCatalog:
            register(name, entry)


def ensure_registered(names):
    """Register the entries and those of these names that are JSON files, of the plain format or in YouTube-VIS form, or
    folders of tracking sequences: "my_set/train" is <DETECTRON2_DATASETS>/my_set/train.json, else the folder
    my_set/train/ there, looked for now. InputError for a name that is neither, nor known to DatasetCatalog."""
    register_all()
    for name in names:
        entry = _own_entry(name) if name not in DatasetCatalog else None
        if entry is not None:
            register(name, entry)
        if name not in DatasetCatalog:
            raise InputError(_unknown(name))


def _own_entry(name):
    path = plain_file(name)
    if path is None:
        return own_set(name)
    return PlainEntry(name, load_ytvis, "ytvis") if is_ytvis_json(path) else PlainEntry(name)


def plain_file(name):
    """-> Path of the JSON of a user's data set, None when there is none of this name."""
    parts = PurePosixPath(name).parts
    # Names are folders of the output as well: they must not lead anywhere else.
    if not parts or parts[0] == "/" or ".." in parts or name.endswith(".json"):
        return None
    path = data_folder().joinpath(*parts[:-1], f"{parts[-1]}.json")
    return path if path.is_file() else None


def known_classes(name):
    """-> class names of a data set in the order of their numbers, without looking at its videos; the folder of a
    built-in one need not be there. None where only loading the set could tell; InputError for a JSON file without."""
    if name in ENTRIES:
        return ENTRIES[name].known_classes()
    path = plain_file(name)
    if path is not None:
        return read_ytvis_categories(path) if is_ytvis_json(path) else read_categories(path)
    return MetadataCatalog.get(name).get("thing_classes") if name in MetadataCatalog.list() else None


def register(name, entry):
    """Make a data set known to detectron2. Its metadata have evaluator_type and an empty video_index at once,
    the rest (thing_classes, filled index, ...) after the first DatasetCatalog.get(name)."""
    metadata = MetadataCatalog.get(name).set(evaluator_type=entry.evaluator_type, video_index=VideoIndex())
    DatasetCatalog.register(name, functools.partial(_load, entry, metadata))


def merged_index(names):
    """-> VideoIndex over registered data sets; those not loaded yet are. One without an index (still pictures in
    detectron2's usual form) adds nothing."""
    indexes = {name: MetadataCatalog.get(name).get("video_index") for name in names}
    for name, index in indexes.items():
        if index is not None and not len(index):
            DatasetCatalog.get(name)
    return VideoIndex.merge(*(index for index in indexes.values() if index is not None))


def _load(entry, metadata):
    metadata.video_index.clear()
    dicts, loaded = entry.read(video_index=metadata.video_index)
    # Not by attribute: Metadata refuses a second value, and DETECTRON2_DATASETS may have changed.
    vars(metadata).update(loaded)
    return dicts


def _unknown(name):
    base = data_folder()
    files = [path.relative_to(base).with_suffix("").as_posix() for depth in ("*", "*/*")
             for path in base.glob(f"{depth}.json")]
    files += [path.parent.relative_to(base).as_posix() for depth in ("*", "*/*")
              for path in base.glob(f"{depth}/list.txt")]
    known = sorted({*DatasetCatalog.list(), *files})
    # A whole path or a file name is near to the name it stands for.
    typed = name.removeprefix(f"{base}/").removesuffix(".json")
    near = difflib.get_close_matches(typed, known, n=3)
    examples = files[:3] or [known for known in ENTRIES if "vid" in known]
    hint = f"did you mean {' or '.join(near)}?" if near else f"names are such as {', '.join(examples)}"
    folder = empty_set(name)
    if folder is not None:
        what = "is empty" if not any(folder.iterdir()) else "holds no tracking sequences"
        return (f"data set {name!r} is not known: the folder {folder} {what}: expected list.txt or sequence folders "
                f"with groundtruth.txt; {hint}")
    return (f"data set {name!r} is not known: no built-in set has this name, and there is no file "
            f"{base / name}.json and no folder of tracking sequences {base / name}; {hint}")
