"""A data set's name -> the CheckedSet of its format."""

import functools

from ...errors import InputError
from ..builtin import ENTRIES, ensure_registered, plain_file
from ..datasets import load_imagenet_det
from ..datasets.image_sets import data_folder, find_root
from ..datasets.ytvis import is_ytvis_json
from ..tracking_sets import TrackingEntry, own_set
from ..vis_sets import VisEntry
from .layout import LayoutSet, StillSet
from .plain import PlainSet
from .tracks import TrackSet
from .vis import VisSet


def open_set(name):
    """name: a built-in data set, or a JSON file's path under DETECTRON2_DATASETS without ".json", or a
    folder's of tracking sequences.

    Raises InputError or FileNotFoundError when there is no such set, or nothing of it can be read."""
    if name in ENTRIES:
        return _open_entry(name, ENTRIES[name])
    path, tracks = plain_file(name), own_set(name)
    if path is None and tracks is not None:
        return TrackSet(tracks, name=name)
    if path is None:
        ensure_registered([name])  # says what it looked for
        raise InputError(f"data set {name!r} was registered by other code; expected a built-in name, a JSON file's "
                         "or a folder's of tracking sequences")
    return VisSet(path, name=name) if is_ytvis_json(path) else PlainSet(path, name=name)


def _open_entry(name, entry):
    if isinstance(entry, TrackingEntry):
        return TrackSet(entry, name=name)
    if isinstance(entry, VisEntry):
        return VisSet(entry.json_file(), data_folder() / entry.folder / entry.pictures, name=name)
    root, load = find_root(entry.folders), entry.load
    if load is load_imagenet_det:
        return StillSet(root, entry.lists, name=name)
    options = load.keywords if isinstance(load, functools.partial) else {}
    return LayoutSet(root, entry.lists, name=name, **options)
