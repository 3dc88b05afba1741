"""The figures of single-object tracking as the GOT-10k toolkit defines them: AO, SR, success curve, speed.

Letters: T frames of a sequence, R repetitions, N overlaps. Boxes are XYWH (top left corner, size) in pixels of the
original frame. Frame 0 is given to the tracker and never counts. The overall figures are of all frames of all sequences
alike, not means over sequences; AO is the mean overlap, which is not the area under the curve.
"""

import math
from typing import NamedTuple

import numpy as np

THRESHOLDS = np.linspace(0, 1, 101)  # of the success curve
_EPS = np.finfo(float).eps  # keeps 0 / 0 at 0, as there


class Tracks(NamedTuple):
    """What a tracker found in one sequence. boxes: (R, T, 4) XYWH; times: (R, T) seconds a frame, NaN or 0 where not
    measured."""

    boxes: np.ndarray
    times: np.ndarray


class Score(NamedTuple):
    """ao, sr50, sr75 in 0..1; fps: frames a second; curve: (101,) success rates at THRESHOLDS; frames: how many count,
    repetitions included. NaN where nothing counts, fps where nothing was measured."""

    ao: float
    sr50: float
    sr75: float
    fps: float
    curve: np.ndarray
    frames: int

    @property
    def headline(self):
        """-> (name, percent) of the figure that the success plot shows and sorts by."""
        return "AO", 100 * self.ao

    def accuracy(self):
        """-> {"AO", "SR0.5", "SR0.75": percent}: what does not depend on the machine."""
        return {"AO": 100 * self.ao, "SR0.5": 100 * self.sr50, "SR0.75": 100 * self.sr75}

    def percent(self):
        """-> accuracy() and "fps", frames a second."""
        return {**self.accuracy(), "fps": self.fps}

    def plain(self):
        """-> fractions as JSON takes them: None where undefined."""
        numbers = {"ao": self.ao, "sr_0.50": self.sr50, "sr_0.75": self.sr75, "speed_fps": self.fps}
        return {**{name: or_none(value) for name, value in numbers.items()}, "frames": self.frames,
                "succ_curve": [or_none(value) for value in self.curve.tolist()]}


def or_none(value):
    """JSON has no NaN."""
    return None if math.isnan(value) else value


def tracking_scores(records, tracks):
    """records: dataset dicts (load_got10k); tracks: {sequence name: Tracks}, one for each.
    -> (Score of all, {sequence name: Score})."""
    overlaps = {record["name"]: _of_sequence(record, tracks[record["name"]].boxes) for record in records}
    rates = {name: frame_speeds(tracks[name].times) for name in overlaps}
    whole = _score(np.concatenate(list(overlaps.values())), np.concatenate(list(rates.values())))
    return whole, {name: _score(overlaps[name], rates[name]) for name in overlaps}


def group_scores(records, tracks, groups):
    """groups: {group: {sequence name: frame indices}}; a sequence that a group does not name has no frame in it.
    -> {group: Score over the frames of the group that count, of all sequences alike}, without speed."""
    scores, empty = {}, np.empty(0)
    for group, chosen in groups.items():
        parts = [_of_sequence(record, tracks[record["name"]].boxes, chosen.get(record["name"], ()))
                 for record in records]
        scores[group] = _score(np.concatenate([empty, *parts]), empty)
    return scores


def counted(record):
    """-> (T,) bool: the frames that count: those in which cover.label says that something of the target is seen
    (absence.label does not matter); where there is no cover.label, those in which the target is not absent."""
    seen = ~record["absent"] if record["cover"] is None else record["cover"] > 0
    return seen & (np.arange(len(seen)) > 0)


def box_overlaps(boxes, truth, size):
    """boxes, truth: (N, 4) XYWH; size: (W, H) of the frame -> (N,) intersection over union in 0..1, of both clipped
    to the frame."""
    boxes, truth = _clipped(boxes, size), _clipped(truth, size)
    low = np.maximum(boxes[:, :2], truth[:, :2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], truth[:, :2] + truth[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    union = boxes[:, 2:].prod(axis=1) + truth[:, 2:].prod(axis=1) - shared
    return np.clip(shared / (union + _EPS), 0, 1)


def _clipped(boxes, size):
    """The toolkit's clipping: the corner moves into the frame, and the box keeps its width: one that begins left of
    the frame reaches further right than it did."""
    corner = np.clip(boxes[:, :2], 0, size)
    return np.concatenate([corner, np.clip(boxes[:, 2:], 0, size - corner)], axis=1)


def _of_sequence(record, boxes, chosen=None):
    """-> (N,) overlaps of the frames that count, one repetition after the other. chosen: indices to count among; None:
    all."""
    frames, size = counted(record), (record["width"], record["height"])
    if chosen is not None:
        frames &= np.isin(np.arange(len(frames)), chosen)
    return np.concatenate([box_overlaps(run[frames], record["boxes"][frames], size) for run in boxes])


def frame_speeds(times):
    """-> frames a second of each frame measured; their mean is the toolkit's speed, not frames by seconds."""
    return 1 / times[times > 0]  # NaN is not


def _score(overlaps, rates):
    curve = np.full(len(THRESHOLDS), np.nan)
    if len(overlaps):
        # Counted in the sorted list: comparing with each threshold would make 101 arrays of a whole data set.
        above = len(overlaps) - np.searchsorted(np.sort(overlaps), THRESHOLDS, side="right")  # strictly above
        curve = above / len(overlaps)
    ao, fps = (float(values.mean()) if len(values) else float("nan") for values in (overlaps, rates))
    # THRESHOLDS[50] and [75] are 0.5 and 0.75 to the last bit.
    return Score(ao, float(curve[50]), float(curve[75]), fps, curve, len(overlaps))
