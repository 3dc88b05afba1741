"""How well classes are apart in a space of features: the silhouette, with an interval that knows of videos.

The silhouette of an object is (b - a) / max(a, b), where a is its mean distance to the other objects of its class and b
that to the nearest other class; that of a set is the mean over its objects: 1 far apart, 0 or less mixed up. It does
not depend on the scale of the features, so two models can be compared. Objects of one video resemble each other, and
many frames are not many samples: the interval comes from drawing whole videos anew (bootstrap).
"""

import numpy as np

FEWEST = 10  # objects that give a number
_FEWEST_VIDEOS = 5  # that give an interval
_RESAMPLES = 1000
_BLOCK = 256  # objects whose distances are at hand at once


class Silhouette:
    """Of one set of objects, for any number of times that each video counts.

    Memory: objects x (videos, times the classes in each), not objects x objects."""

    def __init__(self, features, labels, videos):
        """features: (n, D); labels, videos: (n,) ints."""
        self._class, labels = np.unique(labels, return_inverse=True)
        names, self._video = np.unique(videos, return_inverse=True)
        self.num_videos = len(names)
        cells, cell = np.unique(labels * len(names) + self._video, return_inverse=True)  # sorted by class
        self._label, self._cell_video = labels, cells % len(names)
        self._starts = np.searchsorted(cells // len(names), np.arange(len(self._class)))
        self._count = np.bincount(cell)
        self._sums = _distance_sums(np.asarray(features, dtype=np.float64), cell)

    def score(self, times=None):
        """times: (videos,) how often each video is in the set, in ascending order of its number; None: once.
        -> silhouette in -1..1, NaN with fewer than two classes. Copies of an object do not count as its neighbours; one
        that is alone in its class has 0, as is usual."""
        times = np.ones(self.num_videos) if times is None else np.asarray(times, dtype=np.float64)
        weight = times[self._cell_video]
        total = np.add.reduceat(self._sums * weight, self._starts, axis=1)  # (n, classes)
        count = np.add.reduceat(self._count * weight, self._starts)  # (classes,)
        if (count > 0).sum() < 2:
            return np.nan
        rows = np.flatnonzero(times[self._video] > 0)
        labels, copies = self._label[rows], times[self._video[rows]]
        others = count[labels] - copies
        own = np.divide(total[rows, labels], others, out=np.zeros(len(rows)), where=others > 0)
        means = np.where(count > 0, total[rows] / np.maximum(count, 1), np.inf)
        means[np.arange(len(rows)), labels] = np.inf
        nearest = means.min(1)
        largest = np.maximum(own, nearest)
        each = np.divide(nearest - own, largest, out=np.zeros(len(rows)), where=(others > 0) & (largest > 0))
        return float(np.average(each, weights=copies))


def _distance_sums(features, cell):
    """-> (n, cells) sums of the Euclidean distances of each object to those of each cell."""
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(cell.max() + 1))
    squares, others = (features**2).sum(1), features[order]
    sums = []
    for start in range(0, len(features), _BLOCK):
        block = slice(start, start + _BLOCK)
        squared = squares[block, None] + squares[order][None] - 2 * features[block] @ others.T
        # Exactly 0 to itself: the difference of large squares is not.
        squared[np.arange(start, start + len(squared))[:, None] == order[None]] = 0.0
        sums.append(np.add.reduceat(np.sqrt(squared.clip(min=0)), starts, axis=1))
    return np.concatenate(sums)


def difference_interval(first, second, *, seed):
    """first, second: Silhouettes of the same objects. -> (low, high), the central 95% of second - first when the videos
    are drawn anew, with replacement and the same ones for both; draws with a single class are left out."""
    rng, videos = np.random.default_rng(seed), first.num_videos
    draws = rng.multinomial(videos, np.full(videos, 1 / videos), size=_RESAMPLES)
    differences = [second.score(times) - first.score(times) for times in draws]
    return tuple(float(v) for v in np.nanpercentile(differences, [2.5, 97.5]))


def silhouettes(spaces, labels, videos, *, seed):
    """spaces: features (n, D) of the same objects by two models; labels, videos: (n,).

    -> {"objects", "videos", "classes": counts; "against", "model", "difference", "interval": of the first, the second,
    and the second less the first; None where there is no number, and then "note" says why}."""
    told = {"objects": len(labels), "videos": len(np.unique(videos)), "classes": len(np.unique(labels)),
            "against": None, "model": None, "difference": None, "interval": None, "note": None}
    if len(labels) < FEWEST:
        return {**told, "note": f"fewer than {FEWEST} objects"}
    if told["classes"] < 2:
        return {**told, "note": "one class"}
    both = [Silhouette(features, labels, videos) for features in spaces]
    against, model = (one.score() for one in both)
    told |= {"against": against, "model": model, "difference": model - against}
    if told["videos"] < _FEWEST_VIDEOS:
        return {**told, "note": f"fewer than {_FEWEST_VIDEOS} videos"}
    return {**told, "interval": difference_interval(*both, seed=seed)}
