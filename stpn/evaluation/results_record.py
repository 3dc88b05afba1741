"""One record of a COCO results file: what is wrong with it, in words."""

from dataclasses import dataclass
from functools import cached_property

from .truth import LabelledFrames

FIELDS = ("image_id", "category_id", "bbox", "score")
LARGEST = 1e30  # of the numbers of a box or score: their sums are finite in float32


@dataclass(frozen=True)
class Expected:
    """What records must agree with. frames: LabelledFrames. classes: {category id: class number}. doubt: why only
    records that carry our video_id can be understood ("" if all can)."""

    frames: LabelledFrames
    classes: dict
    doubt: str = ""

    @cached_property
    def rows(self):
        """{image id: row in frames}"""
        return {int(image_id): row for row, image_id in enumerate(self.frames.image_id)}

    def problem(self, record):
        """-> what is wrong with a record, None if nothing is."""
        if type(record) is not dict:
            return f'got {_shown(record)}; expected an object {{"image_id", "category_id", "bbox", "score"}}'
        for name in FIELDS:
            if name not in record:
                masks = "; this is a file of masks: name a data set of that kind"
                return (f"has no {name}; expected image_id, category_id, bbox and score"
                        + (masks if "segmentations" in record and "bbox" not in record else ""))
        return (self._in_doubt(record) or self._unknown(record) or _unusable(record["bbox"], record["score"])
                or self._contradiction(record))

    def names_another(self, record):
        """Of a record whose values can be used: must it be refused for what it says besides?"""
        return bool(self._in_doubt(record) or self._contradiction(record))

    def _in_doubt(self, record):
        if self.doubt and type(record.get("video_id")) is not str:
            return f"has no video_id, so train_net.py did not write it; {self.doubt}"
        return None

    def _unknown(self, record):
        ids = f"{min(self.classes)}..{max(self.classes)}" if self.classes else "none"
        for name, known, where in (("image_id", self.rows, "the dataset has no such labelled frame"),
                                   ("category_id", self.classes, f"the ids are {ids}")):
            value = record[name]
            if type(value) is not int:
                return f"{name} is {_shown(value)}; expected a whole number"
            if value not in known:
                return f"{name} {_shown(value)} is unknown: {where}; evaluate with the dataset, and the " \
                       "--category-ids, that the results were made for"
        return None

    def _contradiction(self, record):
        """-> None, or what is wrong when a record names another frame than its image id does."""
        video_id, index = record.get("video_id"), record.get("frame_index")
        row, frames = self.rows[record["image_id"]], self.frames
        if type(video_id) is not str or (video_id, index) == (frames.video_id[row], int(frames.frame_index[row])):
            return None  # other programs may write a number there, which means nothing here
        return (f"is of {video_id} frame {index}, but its image id is {frames.name(row)}; evaluate with the dataset "
                "that the results were made for")


def _unusable(box, score):
    if type(box) is not list or len(box) != 4 or not all(map(_is_number, box)):
        return f"bbox is {_shown(box)}; expected 4 finite numbers [x, y, w, h]"
    if min(box[2:]) < 0:
        return f"bbox is {_shown(box)}, its width or height is negative; expected [x, y, w, h]"
    return None if _is_number(score) else f"score is {_shown(score)}; expected a finite number"


def _is_number(value):
    return type(value) in (int, float) and abs(value) <= LARGEST


def _shown(value):
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
