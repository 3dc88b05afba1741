"""The sets of single-object tracking known by name: where their sequences are, <folder>/<part>/<sequence>/."""

import logging
from typing import NamedTuple

from .datasets import load_got10k
from .datasets.image_sets import find_root

logger = logging.getLogger(__name__)


class TrackingEntry(NamedTuple):
    """name: of the set, begins the video ids; part: train, val or test; folders: names of the set's folder below
    DETECTRON2_DATASETS, the first that exists counts; sequences: how many the whole set has, None: not known."""

    name: str
    part: str
    folders: tuple
    sequences: int | None = None

    evaluator_type = "got10k"

    def read(self, *, video_index):
        dicts, metadata = load_got10k(find_root(self.folders) / self.part, name=f"{self.name}/{self.part}",
                                      video_index=video_index, labelled=self.part != "test")
        if self.sequences and len(dicts) != self.sequences:
            logger.warning("%s/%s has %d sequences here; the whole set has %d, and published figures are of all",
                           self.name, self.part, len(dicts), self.sequences)
        return dicts, {**metadata, "whole_set": self.sequences}

    def known_classes(self):
        """A target is of any class."""
        return None


_GOT10K = {"train": 9335, "val": 180, "test": 180}  # test: labels are hidden but for the first box
TRACKING_ENTRIES = {
    **{f"got10k_{part}": TrackingEntry("got10k", part, ("got10k", "GOT-10k"), count)
       for part, count in _GOT10K.items()},
    # A small set of real video in this layout, for tests and first trials.
    **{f"got10k_mini_{part}": TrackingEntry("got10k_mini", part, ("got10k_mini",)) for part in ("train", "val")},
}
