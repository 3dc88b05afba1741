"""Two models on one video, frame by frame: what one finds and the other misses, listed and counted."""

from collections import Counter

from .difference import difference

SIDES = ("against", "model")


class Tally:
    """names: of the classes. Memory: some numbers, and those of the frames in which the models differ."""

    def __init__(self, names):
        self._names = names
        self._frames, self._different, self._labels = 0, 0, None
        self._counts = [Counter() for _ in SIDES]
        self._classes = [Counter() for _ in SIDES]
        self._alone = [[] for _ in SIDES]

    def add(self, t, found, truth):
        """found: Instances of --against and of the model in frame t; truth: of its labels, None for a frame without.
        -> what to tell of the frame, {} if the two agree: of each thing its class, box and score; of a label that one
        finds alone the label's box, and the score of what it finds there."""
        apart = difference(*found)
        told = {"against_alone": described(found[0], apart.first, self._names),
                "model_alone": described(found[1], apart.second, self._names)}
        self._frames += 1
        for side, alone in enumerate((apart.first, apart.second)):
            self._counts[side].update(found=len(found[side]), alone=len(alone))
            self._classes[side].update(self._names[int(found[side].pred_classes[i])] for i in alone)
        if truth is not None:
            told |= self._add_labels(t, found, truth)
        elif apart.first or apart.second:
            for side, alone in enumerate((apart.first, apart.second)):
                self._alone[side] += [t] * bool(alone)
        different = any(value for value in told.values() if isinstance(value, list))
        self._different += different
        return told if different else {}

    def _add_labels(self, t, found, truth):
        matches = [difference(one, truth) for one in found]
        right = [{j: i for i, j in match.both} for match in matches]
        only = [sorted(right[0].keys() - right[1].keys()), sorted(right[1].keys() - right[0].keys())]
        self._labels = (self._labels or 0) + len(truth)
        for side in (0, 1):
            self._counts[side].update(labels_found=len(right[side]), labels_alone=len(only[side]),
                                      no_label=len(matches[side].first))
            self._alone[side] += [t] * bool(only[side])
        told = {"labels": len(truth)}
        for side, name in enumerate(SIDES):
            finds = [found[side][right[side][j]] for j in only[side]]
            told[f"labels_by_{name}_alone"] = [
                {**label, "score": described(one, [0], self._names)[0]["score"]}
                for label, one in zip(described(truth, only[side], self._names), finds, strict=True)]
        return told

    def summary(self):
        """-> plain data: frames, frames_that_differ, labels (None without any), and of each side how many it found,
        found alone (by class, too), labels it found, found alone, detections without a label, and `frames`: those in
        which it finds a label (without labels: something) that the other misses, as ranges."""
        sides = {name: {"found": counts["found"], "alone": counts["alone"], "alone_by_class": dict(classes),
                        **({} if self._labels is None else {key: counts[key] for key in (
                            "labels_found", "labels_alone", "no_label")}),
                        "frames": ranges(frames)}
                 for name, counts, classes, frames in zip(SIDES, self._counts, self._classes, self._alone, strict=True)}
        return {"frames": self._frames, "frames_that_differ": self._different, "labels": self._labels, **sides}


def described(found, indices, names):
    """-> for each of these: class, score (None if it is not known), box XYXY in pixels, number of its track."""
    told = []
    for i in indices:
        score = float(found.scores[i])
        told.append({"label": names[int(found.pred_classes[i])], "score": None if score != score else round(score, 5),
                     "box": [round(v, 2) for v in found.pred_boxes.tensor[i].tolist()]})
        if found.has("pred_ids"):
            told[-1]["track_id"] = int(found.pred_ids[i])
    return told


def ranges(numbers):
    """Ascending numbers -> ["3-7", "9", ...]."""
    parts = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return [f"{first}-{last}" if first < last else str(first) for first, last in parts]
