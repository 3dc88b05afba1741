"""One-pass evaluation (OPE) of single-object tracking: success, precision, normalised precision, as OTB, LaSOT and
TrackingNet define them.

Letters: T frames of a sequence, R repetitions, N frames that count. Boxes are XYWH in pixels, not clipped to the frame.
Each figure is one of a sequence first, then the mean over sequences: short ones weigh as much as long ones.

From the papers: success is the share of frames with an overlap above a threshold, its AUC the mean over the thresholds
0, 0.05, ..., 1 (OTB); precision the share with centres at most 20 pixels apart (OTB, thresholds 0, 1, ..., 50);
normalised precision divides the distance of the centres by the width and height of the true box, thresholds 0, 0.01,
..., 0.5, and is ranked by its AUC (TrackingNet).

From memory, not checked against the published programs here: frame 0, the given box, counts, as in OTB; an overlap must
lie above its threshold, a distance may equal it; frames in which the target is absent (LaSOT: full occlusion or out of
view) or its box has no area are left out. Some programs leave them in as failures, which lowers the figures on LaSOT;
and published values for LaSOT called P_norm are often the normalised precision at 0.2: it is given, too.
"""

from typing import NamedTuple

import numpy as np

from .tracking_metrics import frame_speeds, or_none

OVERLAPS = np.linspace(0, 1, 21)
PIXELS = np.arange(51)
SHARES = np.arange(51) / 100  # of the true box's size
AT_PIXELS, AT_SHARE = 20, 20  # rows of PIXELS and SHARES: 20 pixels, 0.2


class OpeScore(NamedTuple):
    """curve: (21,) success at OVERLAPS; precision: (51,) at PIXELS; normalised: (51,) at SHARES, all in 0..1; fps:
    frames a second; frames: how many count, repetitions included. NaN where nothing counts or was measured."""

    curve: np.ndarray
    precision: np.ndarray
    normalised: np.ndarray
    fps: float
    frames: int

    @property
    def headline(self):
        """-> (name, percent) of the figure that the success plot shows and sorts by."""
        return "AUC", 100 * float(self.curve.mean())

    def accuracy(self):
        """-> percent: success AUC, precision at 20 pixels, AUC of the normalised precision, and its value at 0.2."""
        values = (self.curve.mean(), self.precision[AT_PIXELS], self.normalised.mean(), self.normalised[AT_SHARE])
        return dict(zip(("AUC", "P20", "NP_AUC", "NP0.2"), (100 * float(value) for value in values)))

    def percent(self):
        """-> accuracy() and "fps", frames a second."""
        return {**self.accuracy(), "fps": self.fps}

    def plain(self):
        """-> fractions as JSON takes them: None where undefined."""
        names = ("success_auc", "precision_20px", "norm_precision_auc", "norm_precision_0.20")
        curves = {"succ_curve": self.curve, "prec_curve": self.precision, "norm_prec_curve": self.normalised}
        return {**{name: or_none(value / 100) for name, value in zip(names, self.accuracy().values())},
                "speed_fps": or_none(self.fps), "frames": self.frames,
                **{name: [or_none(value) for value in curve.tolist()] for name, curve in curves.items()}}


def ope_scores(records, tracks):
    """records: dataset dicts; tracks: {sequence name: Tracks}, one for each -> (OpeScore of all, {name: OpeScore}). A
    sequence without a frame that counts is not in the means."""
    by_name = {record["name"]: _of_sequence(record, tracks[record["name"]]) for record in records}
    counting = [score for score in by_name.values() if score.frames]
    curves = (_mean([score[i] for score in counting], len(by)) for i, by in enumerate((OVERLAPS, PIXELS, SHARES)))
    speeds = np.concatenate([frame_speeds(tracks[name].times) for name in by_name])
    return OpeScore(*curves, _speed(speeds), sum(score.frames for score in counting)), by_name


def counted(record):
    """-> (T,) bool: the frames that count, the first included: those with the target in it and a box with an area."""
    return ~record["absent"] & np.isfinite(record["boxes"]).all(axis=1) & (record["boxes"][:, 2:] > 0).all(axis=1)


def overlaps(boxes, truth):
    """(N, 4) XYWH each -> (N,) intersection over union, 0 for a box without area."""
    low = np.maximum(boxes[:, :2], truth[:, :2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], truth[:, :2] + truth[:, 2:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    union = np.maximum(boxes[:, 2:], 0).prod(axis=1) + truth[:, 2:].prod(axis=1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def _of_sequence(record, tracks):
    frames = counted(record)
    truth = np.tile(record["boxes"][frames], (len(tracks.boxes), 1))
    boxes = tracks.boxes[:, frames].reshape(-1, 4)
    apart = np.abs(boxes[:, :2] + boxes[:, 2:] / 2 - truth[:, :2] - truth[:, 2:] / 2)  # (N, 2): of the centres
    rows = [overlaps(boxes, truth)[:, None] > OVERLAPS, np.hypot(*apart.T)[:, None] <= PIXELS,
            np.hypot(*(apart / truth[:, 2:]).T)[:, None] <= SHARES]
    return OpeScore(*(_mean(row, row.shape[1]) for row in rows), _speed(frame_speeds(tracks.times)), len(boxes))


def _mean(rows, width):
    """-> (width,) mean of the rows, NaN where there are none."""
    return np.mean(rows, axis=0) if len(rows) else np.full(width, np.nan)


def _speed(speeds):
    return float(speeds.mean()) if len(speeds) else float("nan")
