"""The kinds of problems that a check of a data set finds, with what training does about each, and their collection."""

from dataclasses import dataclass, field
from typing import NamedTuple

STOPS = "training stops"
LEAVES_OUT = "training leaves them out"
IN_VAIN = "training has nothing to learn"
GOES_ON = "training goes on"


class Kind(NamedTuple):
    effect: str  # STOPS, LEAVES_OUT, IN_VAIN or GOES_ON
    one: str  # what stands behind the number 1, and behind others
    many: str

    def counted(self, number):
        if number == 1:
            return f"1 {self.one}; {self.effect.replace('them', 'it')}"
        return f"{number} {self.many}; {self.effect}"


KINDS = {
    "list line": Kind(STOPS, "line of the list that cannot be used", "lines of the list that cannot be used"),
    "structure": Kind(STOPS, "entry with a missing key or a wrong type or value",
                      "entries with a missing key or a wrong type or value"),
    "duplicate id": Kind(STOPS, "id that stands for two things", "ids that stand for two things"),
    "unknown id": Kind(STOPS, "reference to something that is not there", "references to something that is not there"),
    "unknown class": Kind(STOPS, "object of a class that is not in the class table",
                          "objects of a class that is not in the class table"),
    "no object": Kind(STOPS, "set without a single object that can be trained on",
                      "sets without a single object that can be trained on"),
    "nothing shown": Kind(IN_VAIN, "set in which no object is seen in any frame",
                          "sets in which no object is seen in any frame"),
    "missing annotation": Kind(STOPS, "annotation file not found", "annotation files not found"),
    "unreadable annotation": Kind(STOPS, "annotation file that cannot be read", "annotation files that cannot be read"),
    "missing picture": Kind(STOPS, "labelled frame whose picture or video is not there",
                            "labelled frames whose picture or video is not there"),
    "unreadable picture": Kind(STOPS, "picture or video that cannot be read", "pictures or videos that cannot be read"),
    "missing support": Kind(STOPS, "video that lacks frames without labels (support frames)",
                            "videos that lack frames without labels (support frames)"),
    "size": Kind(STOPS, "annotation for another picture size than the file or the video has",
                 "annotations for another picture size than the file or the video has"),
    "box not finite": Kind(LEAVES_OUT, "box with a NaN or infinite corner", "boxes with a NaN or infinite corner"),
    "box swapped": Kind(LEAVES_OUT, "box with swapped corners", "boxes with swapped corners"),
    "box degenerate": Kind(LEAVES_OUT, "box less than a pixel wide or high", "boxes less than a pixel wide or high"),
    "box outside": Kind(LEAVES_OUT, "box of which less than a pixel lies in the picture",
                        "boxes of which less than a pixel lies in the picture"),
    "short sequence": Kind(LEAVES_OUT,
                           "sequence with fewer than 20 frames (INPUT.TRACKING.MIN_LENGTH), or fewer than 7 that "
                           "show its target",
                           "sequences with fewer than 20 frames (INPUT.TRACKING.MIN_LENGTH), or fewer than 7 that "
                           "show their target"),
    "crowd": Kind(LEAVES_OUT, "crowd region (iscrowd 1), for which evaluation refuses the set",
                  "crowd regions (iscrowd 1), for which evaluation refuses the set"),
    "polygon": Kind(LEAVES_OUT, "mask with polygons of less than 3 points",
                    "masks with polygons of less than 3 points"),
    "mask empty": Kind(LEAVES_OUT, "mask without a pixel (the object counts as not seen)",
                       "masks without a pixel (the object counts as not seen)"),
    "track unseen": Kind(LEAVES_OUT, "track without a mask in any frame", "tracks without a mask in any frame"),
    "box clipped": Kind(GOES_ON, "box that reaches over the picture's border (clipped)",
                        "boxes that reach over the picture's border (clipped)"),
    "start": Kind(GOES_ON, "sequence with whose first box no tracker can start (evaluation stops)",
                  "sequences with whose first box no tracker can start (evaluation stops)"),
    "visibility": Kind(GOES_ON,
                       "sequence where absence.label and cover.label disagree: absent, but seen (absence counts)",
                       "sequences where absence.label and cover.label disagree: absent, but seen (absence counts)"),
    "track class": Kind(GOES_ON, "track that changes its class", "tracks that change their class"),
    "track twice": Kind(GOES_ON, "frame that shows a track twice", "frames that show a track twice"),
    "frame twice": Kind(GOES_ON, "frame that is listed twice", "frames that are listed twice"),
    "length": Kind(GOES_ON, "video longer than the list says", "videos longer than the list says"),
    "other": Kind(STOPS, "other problem", "other problems"),
}


class Found(NamedTuple):
    where: str  # file, line or JSON path
    message: str


@dataclass
class Findings:
    """What was found, by kind (a key of KINDS), in the order of finding."""

    by_kind: dict = field(default_factory=dict)

    def add(self, kind, where, message):
        if kind not in KINDS:
            raise KeyError(f"no kind of problem is called {kind!r}; known are {', '.join(KINDS)}")
        self.by_kind.setdefault(kind, []).append(Found(str(where), message))

    def count(self, *effects):
        """Number of problems with these effects (none named: all)."""
        return sum(len(found) for kind, found in self.by_kind.items()
                   if not effects or KINDS[kind].effect in effects)
