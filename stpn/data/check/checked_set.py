"""CheckedSet: what the check reads of a data set, whichever its format (layout.py, plain.py)."""

import os
from typing import NamedTuple

from ...errors import InputError
from ..image import read_image


class CheckedBox(NamedTuple):
    """corners: x1, y1, x2, y2 in pixels as in the file. label: class name, None when it is not known.
    track: None without one. crowd: marked as iscrowd. mask: RLE or polygons, None without one."""

    where: str
    corners: tuple
    label: str | None
    track: int | None
    crowd: bool = False
    mask: object = None


class CheckedFrame(NamedTuple):
    """One labelled frame. size: (width, height) that the annotation states, None when it states none."""

    where: str
    video_id: str
    index: int
    size: tuple | None
    boxes: list


class CheckedSet:
    """What the check reads of a data set. len() is the number of labelled frames; positions 0..len()-1.

    name; format: words for the report; place: its list or JSON file; classes: names in order; lengths: {video
    id: frames, or None when not known}; inclusive: corners are pixels that belong to the box (largest W - 1),
    not continuous coordinates (largest W); labelled: False for a test set whose labels are hidden; crowds: crowd
    regions are legal; empty: what training does with frames without objects.
    """

    inclusive = True
    labelled = True
    crowds = False
    empty = "training leaves them out"

    def __len__(self):
        raise NotImplementedError

    def report(self, findings):
        """What was found when the set was opened, and files that are not there."""
        raise NotImplementedError

    def frame(self, position, findings):
        """-> CheckedFrame, or None after reporting why there is none."""
        raise NotImplementedError

    def decode(self, positions):
        """Yield (position, place of the picture, np.uint8 (H, W, 3) RGB or the InputError) for those of these
        ascending positions whose file is there, in the order in which it reads best."""
        for position in positions:
            path = self.picture(position)
            try:
                yield position, path, read_image(path)
            except InputError as error:
                if os.path.lexists(path):  # otherwise it has been reported as missing
                    yield position, path, error

    def picture(self, position):
        """-> path of the picture file at a position; sets with frames in video files have their own decode."""
        raise NotImplementedError

    def without_objects(self):
        """-> (kind, where, message) of the problem that a set without a single object has."""
        return "no object", self.place, (f"none of the {len(self)} labelled frames shows an object; frames without "
                                         "objects are left out, so that training has none")

    def notes(self):
        """-> further lines for the report, after the pass over all frames."""
        return []
