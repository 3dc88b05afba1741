"""What a data set holds, counted frame by frame in memory that hardly grows with it."""

from array import array
from collections import Counter, defaultdict

import numpy as np

# COCO's limits between small, medium and large objects, pixels.
_AREAS = (("small, below 32x32", 0, 32**2), ("medium", 32**2, 96**2), ("large, from 96x96", 96**2, np.inf))
_SHOWN_SIZES = 5


class Counts:
    """Counts of a data set; boxes are those that training sees.

    lengths: {video id: frames or None}; shown: {video id: positions of its frames with boxes, or where labels are
    hidden of all}, for the contact sheet;
    empty: labelled frames without a box; boxes, tracks, videos: Counter by class name.
    """

    def __init__(self, classes, lengths, *, empty_frames="training leaves them out", hidden=False):
        """empty_frames: what becomes of labelled frames without a box, for the report; hidden: there are no labels."""
        self._empty_frames, self._hidden = empty_frames, hidden
        self.classes, self.lengths = list(classes), dict(lengths)
        self.labelled = Counter()  # by video
        self.empty = self.crowds = self.untracked = 0
        self.boxes, self.pictures = Counter(), Counter()
        self.shown = defaultdict(lambda: array("l"))
        self._videos, self._tracks = defaultdict(set), defaultdict(set)
        self._sides = array("f")  # width, height of every box

    def add(self, position, frame, boxes):
        """frame: CheckedFrame; boxes: those of its boxes that training sees."""
        self.pictures[frame.size] += 1
        if self._hidden:
            self.shown[frame.video_id].append(position)
            return
        self.labelled[frame.video_id] += 1
        self.crowds += sum(box.crowd for box in boxes)
        boxes = [box for box in boxes if not box.crowd]
        self.empty += not boxes
        if boxes:
            self.shown[frame.video_id].append(position)
        for box in boxes:
            self.boxes[box.label] += 1
            self._videos[box.label].add(frame.video_id)
            self.untracked += box.track is None
            if box.track is not None:
                self._tracks[box.label].add((frame.video_id, box.track))
            x1, y1, x2, y2 = box.corners
            self._sides.extend((x2 - x1, y2 - y1))

    @property
    def tracks(self):
        """Number of tracks; one that changes its class counts once."""
        return len(set().union(*self._tracks.values()))

    def lines(self):
        """-> lines of text for the report."""
        known = [length for length in self.lengths.values() if length is not None]
        total = f"{sum(known)}" + (f" in {len(known)} of them" if len(known) < len(self.lengths) else "")
        if self._hidden:
            return [f"videos   {len(self.lengths)}", f"frames   {total}", f"pictures {self._picture_sizes()}"]
        unlabelled = sum(video not in self.labelled for video in self.lengths)
        empty = sum(video in self.labelled and video not in self.shown for video in self.lengths)
        left_out = f" ({self._empty_frames})" if self.empty else ""
        crowd = f"; {self.crowds} more are marked as crowd" if self.crowds else ""
        untracked = f"; {self.untracked} boxes have none" if self.untracked else ""
        return [f"videos   {len(self.lengths)}; without a labelled frame {unlabelled}, "
                f"with labelled frames but no object {empty}",
                f"frames   {total}; labelled {self.labelled.total()}, "
                f"of these without an object {self.empty}{left_out}",
                f"boxes    {self.boxes.total()}{crowd}", f"tracks   {self.tracks}{untracked}",
                f"pictures {self._picture_sizes()}", *self._box_sizes(), "", *self._class_table()]

    def _picture_sizes(self):
        """The most frequent sizes of labelled frames (where labels are hidden, of all)."""
        named = [f"{size[0]}x{size[1]} ({count})" if size else f"size not stated ({count})"
                 for size, count in self.pictures.most_common(_SHOWN_SIZES)]
        more = len(self.pictures) - len(named)
        return ", ".join(named) + (f" and {more} more sizes" if more > 0 else "")

    def _box_sizes(self):
        if not self._sides:
            return []
        sides = np.array(self._sides).reshape(-1, 2)
        lines = [f"  {name:<6} " + ", ".join(f"{word} {value:.4g}" for word, value in
                                            zip(("min", "5%", "median", "95%", "max"),
                                                np.percentile(values, (0, 5, 50, 95, 100))))
                 for name, values in zip(("width", "height"), sides.T)]
        areas = sides.prod(axis=1)
        groups = (f"{name}: {np.count_nonzero((areas >= low) & (areas < high))}" for name, low, high in _AREAS)
        return ["box sizes in pixels", *lines, f"  area   {'; '.join(groups)}"]

    def _class_table(self):
        width = max(map(len, ("class", *self.classes)))
        head = f"{'class':<{width}} {'boxes':>9} {'tracks':>7} {'videos':>7}"
        lines = [f"{name:<{width}} {self.boxes[name]:>9} {len(self._tracks[name]):>7} {len(self._videos[name]):>7}"
                 for name in self.classes if self.boxes[name]]
        without = [name for name in self.classes if not self.boxes[name]]
        return [head, *lines, *([f"no box of {len(without)} classes: {', '.join(without)}"] if without else [])]
