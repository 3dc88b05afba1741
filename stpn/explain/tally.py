"""Two models on one video, frame by frame: what one finds and the other misses, listed and counted."""

from collections import Counter

from tabulate import tabulate

from .difference import difference

SIDES = ("against", "model")
_MOST = 8  # classes, and stretches of frames, in the table


class Tally:
    """names: of the classes. Memory: some numbers, and those of the frames in which the models differ."""

    def __init__(self, names):
        self._names = names
        self._frames, self._different, self._labels = 0, 0, None
        self._counts = [Counter() for _ in SIDES]
        self._classes = [Counter() for _ in SIDES]
        self._alone, self._labels_alone = [[] for _ in SIDES], [[] for _ in SIDES]  # frames

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
            self._alone[side] += [t] * bool(alone)
        if truth is not None:
            told |= self._add_labels(t, found, truth)
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
            self._labels_alone[side] += [t] * bool(only[side])
        told = {"labels": len(truth)}
        for side, name in enumerate(SIDES):
            finds = [found[side][right[side][j]] for j in only[side]]
            told[f"labels_by_{name}_alone"] = [
                {**label, "score": described(one, [0], self._names)[0]["score"]}
                for label, one in zip(described(truth, only[side], self._names), finds, strict=True)]
        return told

    def summary(self):
        """-> plain data: frames, frames_that_differ, labels (None where no frame has any), and of each side how many it
        found, found alone (by class, too), and as ranges the `frames` in which it finds something that the other
        misses; with labels also those it found, found alone, detections without a label in labelled frames, and the
        `label_frames` in which it finds a label that the other misses."""
        sides = {name: self._side(side) for side, name in enumerate(SIDES)}
        return {"frames": self._frames, "frames_that_differ": self._different, "labels": self._labels, **sides}

    def _side(self, side):
        counts = self._counts[side]
        told = {"found": counts["found"], "alone": counts["alone"], "alone_by_class": dict(self._classes[side]),
                "frames": ranges(self._alone[side])}
        if self._labels is None:
            return told
        counted = {key: counts[key] for key in ("labels_found", "labels_alone", "no_label")}
        return {**told, **counted, "label_frames": ranges(self._labels_alone[side])}


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


def table(summary, names):
    """Summary of a Tally -> text of at most a screen. names: the headers of the two models."""
    lines = [("found", "found (over all frames)"), ("alone", "not found by the other"),
             ("labels_found", f"of {summary['labels']} labels found"), ("labels_alone", "labels found by it alone"),
             ("no_label", "found where there is no such label")]
    sides = [summary[side] for side in SIDES]
    rows = [[text, *(side[key] for side in sides)] for key, text in lines if key in sides[0]]
    classes = sum((Counter(side["alone_by_class"]) for side in sides), Counter())
    rows += [[f"  not found by the other: {label}", *(side["alone_by_class"].get(label, 0) for side in sides)]
             for label, _ in classes.most_common(_MOST)]
    what, key = ("something", "frames") if summary["labels"] is None else ("a label", "label_frames")
    places = [f"frames in which {name} alone finds {what}: {', '.join(side[key][:_MOST]) or 'none'}"
              + f" and {len(side[key]) - _MOST} more stretches" * (len(side[key]) > _MOST)
              for name, side in zip(SIDES, sides, strict=True)]
    return "\n".join([tabulate(rows, headers=["", *names]), *places])
