"""The sets of single-object tracking: those known by name, and a user's own folders in GOT-10k's layout."""

import functools
import logging
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import NamedTuple

from .datasets import load_got10k, load_lasot, load_otb, load_trackingnet
from .datasets.image_sets import data_folder, find_root

logger = logging.getLogger(__name__)

TRACKING_TYPES = ("got10k", "ope")  # their evaluator_type


class TrackingEntry(NamedTuple):
    """name: of the set, begins the video ids; load(folder, name=, video_index=) -> (dicts, metadata); folders: names
    of the set's folder below DETECTRON2_DATASETS, the first that exists counts; part: folder in it; sequences: how many
    the whole set has, None: not known; labelled: False for a set whose labels are hidden."""

    name: str
    load: Callable
    folders: tuple
    part: str = ""
    sequences: int | None = None
    labelled: bool = True
    evaluator_type: str = "got10k"

    def folder(self):
        """-> Path. FileNotFoundError when there is no folder of the set."""
        return find_root(self.folders) / self.part

    def read(self, *, video_index):
        dicts, metadata = self.load(self.folder(), name=self.name, video_index=video_index)
        if self.sequences and len(dicts) != self.sequences:
            logger.warning("%s has %d sequences here; the whole set has %d, and published figures are of all",
                           self.name, len(dicts), self.sequences)
        return dicts, {**metadata, "whole_set": self.sequences}

    def known_classes(self):
        """A target is of any class."""
        return None


def own_set(name):
    """-> TrackingEntry of a user's folder in GOT-10k's layout, None when there is none of this name: "my_tracks/train"
    is <DETECTRON2_DATASETS>/my_tracks/train/, with list.txt or folders with groundtruth.txt."""
    folder = _folder(name)
    if folder is None or not _has_sequences(folder):
        return None
    return TrackingEntry(name, load_got10k, ("/".join(PurePosixPath(name).parts),))


def empty_set(name):
    """-> Path of the folder of this name that would be such a set if there were sequences in it; None for none."""
    folder = _folder(name)
    return None if folder is None or _has_sequences(folder) else folder


def _folder(name):
    """-> Path of the user's folder of this name, None when there is none."""
    parts = PurePosixPath(name).parts
    # Names are folders of the output as well: they must not lead anywhere else.
    if not parts or parts[0] == "/" or ".." in parts:
        return None
    folder = data_folder().joinpath(*parts)
    return folder if folder.is_dir() else None


def _has_sequences(folder):
    return (folder / "list.txt").is_file() or any(folder.glob("*/groundtruth.txt"))


def _got10k(part, count=None, folders=("got10k", "GOT-10k")):
    labelled = part != "test"  # its labels are hidden but for the first box
    return TrackingEntry(f"{folders[0]}/{part}", functools.partial(load_got10k, labelled=labelled), folders, part,
                         count, labelled)


TRACKING_ENTRIES = {
    **{f"got10k_{part}": _got10k(part, count) for part, count in (("train", 9335), ("val", 180), ("test", 180))},
    # A small set of real video in this layout, for tests and first trials; and the generated one.
    **{f"{name}_{part}": _got10k(part, folders=(name,)) for name in ("got10k_mini", "toy_got10k")
       for part in ("train", "val")},
    "lasot_test": TrackingEntry("lasot/test", load_lasot, ("lasot", "LaSOT", "LaSOTBenchmark"), sequences=280,
                                evaluator_type="ope"),
    "otb100": TrackingEntry("otb100", load_otb, ("otb100", "OTB100", "OTB2015", "otb"), sequences=100,
                            evaluator_type="ope"),
    "trackingnet_test": TrackingEntry("trackingnet/test", load_trackingnet, ("trackingnet", "TrackingNet"), "TEST", 511,
                                      labelled=False, evaluator_type="ope"),
}
