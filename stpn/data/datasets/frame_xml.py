"""ImageNet's annotation files, one XML a picture: VID, and DET (which lacks track, occluded, generated)."""

import logging
import math
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from ...errors import InputError
from .annotation_cache import BoxTable

logger = logging.getLogger(__name__)

_NO_TRACK = -1
README = "see datasets/README.md for the expected tree"


class XmlObject(NamedTuple):
    """corners: x1, y1, x2, y2 as in the file, inclusive pixels; track: -1 where the file has none."""

    name: str
    corners: list
    track: int
    occluded: int
    generated: int


def parse_files(paths, *, classes, other_classes):
    """-> BoxTable over the XML files, in their order.

    classes: {WordNet id: category id}. other_classes: "error" (VID knows no others) or "drop" (the other 170
    of DET, which all published work treats as background).
    Boxes keep their inclusive corners, clipped to [0, W-1] x [0, H-1]; one that is then less than a pixel
    wide or high (swapped corners included), or is not finite, is dropped and counted.
    """
    sizes, counts, rows, dropped = [], [], [], 0
    for path in paths:
        size, found = _parse(path, classes, other_classes)
        kept = [row for row in found if row is not None]
        dropped += len(found) - len(kept)
        sizes.append(size)
        counts.append(len(kept))
        rows.extend(kept)
    if dropped:
        logger.warning("dropped %d boxes that are empty, outside their picture or not finite; kept %d",
                       dropped, len(rows))
    rows = np.array(rows, dtype=np.float64).reshape(-1, 8)
    return BoxTable(sizes=np.array(sizes, dtype=np.int32).reshape(-1, 2),
                    counts=np.array(counts, dtype=np.int32),
                    boxes=rows[:, :4], labels=rows[:, 4:].astype(np.int64))


def read_file(path):
    """-> (width, height) in pixels and the list of XmlObject, all as written: nothing clipped or left out.

    Raises FileNotFoundError, and InputError for anything else than ImageNet's XML."""
    try:
        root = ElementTree.parse(path).getroot()
        size = int(root.find("size/width").text), int(root.find("size/height").text)
        return size, [_object(element) for element in root.iterfind("object")]
    except FileNotFoundError:
        raise FileNotFoundError(f"annotation file not found: {path}; {README}") from None
    except (ElementTree.ParseError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"cannot read annotation file {path}: {error}; expected ImageNet's XML with size, "
                         "and name and bndbox of each object") from error


def clip(corners, size):
    """-> corners inside the picture of size (width, height), or None when nothing of at least one pixel is left."""
    if not all(map(math.isfinite, corners)):
        return None
    width, height = size
    x1, x2 = (min(max(x, 0.0), width - 1.0) for x in corners[::2])
    y1, y2 = (min(max(y, 0.0), height - 1.0) for y in corners[1::2])
    return (x1, y1, x2, y2) if x2 - x1 >= 1 and y2 - y1 >= 1 else None


def _object(element):
    box = element.find("bndbox")
    corners = [float(box.find(tag).text) for tag in ("xmin", "ymin", "xmax", "ymax")]
    numbers = (int(element.findtext(tag, default)) for tag, default in
               (("trackid", _NO_TRACK), ("occluded", 0), ("generated", 0)))
    return XmlObject(element.find("name").text.strip(), corners, *numbers)


def _parse(path, classes, other_classes):
    """-> (width, height), list of (x1, y1, x2, y2, category, track, occluded, generated), None if dropped."""
    size, objects = read_file(path)
    rows = []
    for found in objects:
        if found.name in classes:
            box = clip(found.corners, size)
            rows.append(box and (*box, classes[found.name], found.track, found.occluded, found.generated))
        elif other_classes == "error":
            raise InputError(f"unknown class {found.name!r} in {path}; known are {', '.join(classes)}")
    return size, rows
