"""Checks a whole data set: counts what it holds, and finds everything that training would refuse, leave out or
change, not only the first of it."""

import os
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ..image import read_image
from .boxes import report_boxes, usable_boxes
from .counts import Counts
from .problems import STOPS, Findings


@dataclass
class Result:
    findings: Findings
    counts: Counts
    decoded: int  # pictures that could be


def check(checked, *, sample=200, progress=lambda items, total: items):
    """Check a CheckedSet -> Result.

    sample: labelled frames to decode, evenly spread; None for every one. progress: wraps the long iterations.
    """
    findings = Findings()
    counts = Counts(checked.classes, checked.lengths, empty_frames=checked.empty, hidden=not checked.labelled)
    checked.report(findings)
    tracks = _Tracks()
    for position in progress(range(len(checked)), total=len(checked)):
        frame = checked.frame(position, findings)
        if frame is not None:
            report_boxes(frame, findings, inclusive=checked.inclusive, crowds=checked.crowds)
            tracks.look_at(frame, findings)
            counts.add(position, frame, usable_boxes(frame, inclusive=checked.inclusive))
    positions = spread(len(checked), len(checked) if sample is None else sample)
    pictures = progress(checked.decode(positions), total=len(positions))
    # What stops training may be why boxes are not counted.
    if checked.labelled and not counts.boxes and not findings.count(STOPS):
        findings.add(*checked.without_objects())
    return Result(findings, counts, _look_at(pictures, checked, findings))


def spread(count, wanted):
    """-> at most `wanted` of 0..count-1, ascending and evenly spread, the ends included."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, wanted))}) if count else []


class _Tracks:
    """The class of each track, as its first box has it."""

    def __init__(self):
        self._labels, self._changed = {}, set()

    def look_at(self, frame, findings):
        seen = set()
        for box in frame.boxes:
            if box.track is None or box.label is None:
                continue
            key = frame.video_id, box.track
            first = self._labels.setdefault(key, box.label)
            if box.label != first and key not in self._changed:
                self._changed.add(key)
                findings.add("track class", box.where, f"track {box.track} of {frame.video_id} was {first}, "
                                                       f"is {box.label} from frame {frame.index} on")
            if box.track in seen:
                findings.add("track twice", box.where, f"track {box.track} has two boxes in frame {frame.index}")
            seen.add(box.track)


def _look_at(pictures, checked, findings):
    """pictures: of checked.decode(). Compare them with the sizes that their annotations state -> how many were read."""
    decoded = 0
    for position, place, image in pictures:
        if isinstance(image, InputError):
            findings.add("unreadable picture", place, str(image))
            continue
        decoded += 1
        frame = checked.frame(position, Findings())  # read again: the sizes of all frames need not be kept
        if frame is not None and frame.size is not None and not _fits(image, frame.size, place):
            findings.add("size", place, f"the picture is {image.shape[1]}x{image.shape[0]}, "
                                        f"{frame.where} says {frame.size[0]}x{frame.size[1]}")
    return decoded


def _fits(image, size, place):
    """As in training, an annotation may also state the size of the picture as stored, its EXIF turn ignored."""
    shape = size[::-1]
    if image.shape[:2] == shape:
        return True
    turned = image.shape[:2] == size and os.path.isfile(place)
    return turned and read_image(place, upright=False).shape[:2] == shape
