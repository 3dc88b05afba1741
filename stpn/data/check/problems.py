"""The kinds of problems that a check of a data set finds, with what training does about each, and their collection."""

from dataclasses import dataclass, field
from typing import NamedTuple

STOPS = "training stops"
LEAVES_OUT = "training leaves them out"
IN_VAIN = "training has nothing to learn"
GOES_ON = "training goes on"


class Kind(NamedTuple):
    title: str
    effect: str  # STOPS, LEAVES_OUT, IN_VAIN or GOES_ON


KINDS = {
    "list line": Kind("lines of the list that cannot be used", STOPS),
    "structure": Kind("entries with a missing key or a wrong type or value", STOPS),
    "duplicate id": Kind("ids that stand for two things", STOPS),
    "unknown id": Kind("references to something that is not there", STOPS),
    "unknown class": Kind("objects of a class that is not in the class table", STOPS),
    "no object": Kind("sets without a single object that can be trained on", STOPS),
    "nothing shown": Kind("sets in which no object is seen in any frame", IN_VAIN),
    "missing annotation": Kind("annotation files not found", STOPS),
    "unreadable annotation": Kind("annotation files that cannot be read", STOPS),
    "missing picture": Kind("labelled frames whose picture or video is not there", STOPS),
    "unreadable picture": Kind("pictures or videos that cannot be read", STOPS),
    "missing support": Kind("videos that lack frames without labels (support frames)", STOPS),
    "size": Kind("annotations for another picture size than the file or the video has", STOPS),
    "box not finite": Kind("boxes with a NaN or infinite corner", LEAVES_OUT),
    "box swapped": Kind("boxes with swapped corners", LEAVES_OUT),
    "box degenerate": Kind("boxes less than a pixel wide or high", LEAVES_OUT),
    "box outside": Kind("boxes of which less than a pixel lies in the picture", LEAVES_OUT),
    "short sequence": Kind("sequences with fewer than 20 frames (INPUT.TRACKING.MIN_LENGTH), or fewer than 7 that show "
                           "their target", LEAVES_OUT),
    "crowd": Kind("crowd regions (iscrowd 1), for which evaluation refuses the set", LEAVES_OUT),
    "polygon": Kind("masks with polygons of less than 3 points", LEAVES_OUT),
    "mask empty": Kind("masks without a pixel (the object counts as not seen)", LEAVES_OUT),
    "track unseen": Kind("tracks without a mask in any frame", LEAVES_OUT),
    "box clipped": Kind("boxes that reach over the picture's border (clipped)", GOES_ON),
    "start": Kind("sequences with whose first box no tracker can start (evaluation stops)", GOES_ON),
    "visibility": Kind("sequences where absence.label and cover.label disagree: absent, but seen (absence counts)",
                       GOES_ON),
    "track class": Kind("tracks that change their class", GOES_ON),
    "track twice": Kind("frames that show a track twice", GOES_ON),
    "frame twice": Kind("frames that are listed twice", GOES_ON),
    "length": Kind("videos longer than the list says", GOES_ON),
    "other": Kind("other problems", STOPS),
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
