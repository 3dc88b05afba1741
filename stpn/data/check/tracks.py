"""Sets of single-object tracking as a CheckedSet: also what is sound in a set that the loader refuses."""

import bisect
import itertools

import numpy as np
from detectron2.config import get_cfg

from ...config import add_stpn_config
from ...crops import check_box
from ...errors import InputError
from ..missing import missing_files
from ..track_sampling import is_long_enough, seen_frames
from ..video import VideoIndex
from .checked_set import CheckedBox, CheckedFrame, CheckedSet

_TARGET = "target"


class TrackSet(CheckedSet):
    """Every frame of every sequence whose label files can be read. Frames without the target have no box; where labels
    are hidden the first frames alone have one."""

    inclusive = False
    classes = (_TARGET,)
    empty = "nothing is learnt from them but in a tracker's second stage"

    def __init__(self, entry, *, name):
        """entry: TrackingEntry. FileNotFoundError and InputError when there is no sequence at all."""
        self.name, self.place, self.labelled = name, str(entry.folder()), entry.labelled
        self.format = "GOT-10k's layout" if entry.evaluator_type == "got10k" else "a tracking benchmark's own layout"
        self._faults, self._index = [], VideoIndex()
        self._records, _ = entry.load(entry.folder(), name=entry.name, video_index=self._index, faults=self._faults)
        self.lengths = {record["video_id"]: record["video_length"] for record in self._records}
        self._starts = list(itertools.accumulate(self.lengths.values(), initial=0))
        self._seen = [seen_frames(record) for record in self._records]
        self._min_length = _defaults().INPUT.TRACKING.MIN_LENGTH
        self._missing = missing_files([path for video_id in self.lengths for path in self._index.paths(video_id)])

    def __len__(self):
        return self._starts[-1]

    def report(self, findings):
        for fault in self._faults:
            where, _, message = fault.partition(": ")
            findings.add("unreadable annotation", where, message)
        for record, seen in zip(self._records, self._seen, strict=True):
            for t, path in enumerate(self._index.paths(record["video_id"])):
                if path in self._missing:
                    findings.add("missing picture", path, f"frame {t} of {record['video_id']}")
            self._report_start(record, findings)
            if self.labelled:
                self._report_visibility(record, findings)
                self._report_length(record, seen, findings)

    def frame(self, position, findings):
        i, t = self._at(position)
        record = self._records[i]
        where, box = f"frame {t} of {record['video_id']}", record["boxes"][t]
        shown = t == 0 if not self.labelled else self._has_box(record, t)
        x, y, w, h = map(float, box)
        boxes = [CheckedBox(where, (x, y, x + w, y + h), _TARGET, i)] if shown else []
        return CheckedFrame(where, record["video_id"], t, (record["width"], record["height"]), boxes)

    def picture(self, position):
        i, t = self._at(position)
        return self._index.path(self._records[i]["video_id"], t)

    def without_objects(self):
        return "no object", self.place, "no frame of any sequence shows its target"

    def notes(self):
        hidden = [] if self.labelled else ["labels   hidden but for the first box of each sequence: the set is for "
                                           "testing, not for training"]
        faults = len(self._faults)
        what = "1 sequence cannot be read and is" if faults == 1 else f"{faults} sequences cannot be read and are"
        return hidden + ([f"labels   {what} not counted above"] if faults else [])

    def _at(self, position):
        """-> (number of the sequence, frame in it)."""
        i = bisect.bisect_right(self._starts, position) - 1
        return i, position - self._starts[i]

    @staticmethod
    def _has_box(record, t):
        """Whether the labels say that the target is seen; its box may have faults."""
        return not record["absent"][t] and (record["cover"] is None or record["cover"][t] > 0)

    @staticmethod
    def _report_start(record, findings):
        try:
            check_box(record["boxes"][0], record["height"], record["width"])
        except InputError as error:
            findings.add("start", record["video_id"], str(error))

    @staticmethod
    def _report_visibility(record, findings):
        if record["cover"] is None:
            return
        wrong = np.flatnonzero(record["absent"] & (record["cover"] > 0))
        if len(wrong):
            findings.add("visibility", record["video_id"], f"{_frames(len(wrong))}, the first is line {wrong[0] + 1} "
                                                           "of both files")

    def _report_length(self, record, seen, findings):
        if not is_long_enough(seen, self._min_length):
            shows = f"{seen.sum()} show{'s' * int(seen.sum() == 1)}"
            findings.add("short sequence", record["video_id"], f"{_frames(len(seen))}, of which {shows} the target")


def _frames(number):
    return f"{number} frame{'s' * (number != 1)}"


def _defaults():
    cfg = get_cfg()
    add_stpn_config(cfg)
    return cfg
