"""ImageNet's annotation files, one XML a picture: VID, and DET (which lacks track, occluded, generated)."""

import logging
import math
from xml.etree import ElementTree

import numpy as np

from ...errors import InputError
from .annotation_cache import BoxTable

logger = logging.getLogger(__name__)

_NO_TRACK = -1
README = "see datasets/README.md for the expected tree"


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


def _parse(path, classes, other_classes):
    """-> (width, height), list of (x1, y1, x2, y2, category, track, occluded, generated), None if dropped."""
    try:
        root = ElementTree.parse(path).getroot()
        size = int(root.find("size/width").text), int(root.find("size/height").text)
        objects = [(obj.find("name").text.strip(), _numbers(obj)) for obj in root.iterfind("object")]
    except FileNotFoundError:
        raise FileNotFoundError(f"annotation file not found: {path}; {README}") from None
    except (ElementTree.ParseError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"cannot read annotation file {path}: {error}; expected ImageNet's XML with size, "
                         "and name and bndbox of each object") from error
    rows = []
    for name, (corners, attributes) in objects:
        if name in classes:
            box = _clip(corners, *size)
            rows.append(box and (*box, classes[name], *attributes))
        elif other_classes == "error":
            raise InputError(f"unknown class {name!r} in {path}; known are {', '.join(classes)}")
    return size, rows


def _numbers(obj):
    box = obj.find("bndbox")
    corners = [float(box.find(tag).text) for tag in ("xmin", "ymin", "xmax", "ymax")]
    track = int(obj.findtext("trackid", _NO_TRACK))
    return corners, (track, int(obj.findtext("occluded", 0)), int(obj.findtext("generated", 0)))


def _clip(corners, width, height):
    """-> corners inside the picture, or None when nothing of at least one pixel is left."""
    if not all(map(math.isfinite, corners)):
        return None
    x1, x2 = (min(max(x, 0.0), width - 1.0) for x in corners[::2])
    y1, y2 = (min(max(y, 0.0), height - 1.0) for y in corners[1::2])
    return (x1, y1, x2, y2) if x2 - x1 >= 1 and y2 - y1 >= 1 else None
