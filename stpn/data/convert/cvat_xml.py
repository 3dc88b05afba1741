"""Files in CVAT's format "CVAT for video 1.1": one task, its tracks and their boxes.

    <annotations>
      <meta><task> <labels>, <start_frame>, <stop_frame>, <frame_filter>step=N, <original_size>, <source> ...
      <track id label> <box frame outside occluded keyframe xtl ytl xbr ybr [rotation]/> ... </track> ...

Frames count from 0 in the video. outside="1": the object is gone from that frame on. keyframe="0": interpolated.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree import ElementTree

from ...errors import InputError

_SHAPES = {"polygon", "polyline", "points", "mask", "ellipse", "cuboid", "skeleton"}


class TrackBox(NamedTuple):
    frame: int
    outside: bool
    occluded: int
    generated: int  # 1: interpolated, 0: placed by hand
    corners: tuple


@dataclass
class Task:
    """labels: class names in the file's order; source: the video's name in CVAT or ""; size: (width, height) or
    None; frames: range of the annotated frames, None when not stated; tracks: list of (track id, label, [TrackBox
    in order]); others: {shape: count} of those that are no boxes; rotated: number of boxes that are."""

    labels: list
    source: str
    size: tuple | None
    frames: range | None
    tracks: list
    others: dict
    rotated: int


def read_task(path):
    """-> Task. Raises InputError naming the file for anything but CVAT for video 1.1 of one task or job."""
    try:
        return _task(ElementTree.parse(path).getroot(), path)
    except FileNotFoundError:
        raise FileNotFoundError(f"annotation file not found: {path}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected an XML file in the format CVAT for video 1.1") from None
    except KeyError as error:
        raise InputError(f"{path}: a track or box without {error.args[0]}=...; expected CVAT for video 1.1") from None
    except (ElementTree.ParseError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {path}: {error}; expected CVAT for video 1.1") from error


def _task(root, path):
    if root.tag != "annotations" or root.find("image") is not None or root.find("meta/project") is not None:
        raise InputError(f"{path} is not one task in the format CVAT for video 1.1; in CVAT, export the task (not the "
                         "project) in that format")
    tracks = [_track(track, i) for i, track in enumerate(root.iterfind("track"))]
    shapes = Counter(shape.tag for track in root.iterfind("track") for shape in track
                     if shape.tag in _SHAPES and shape.get("outside") != "1")
    meta = [found for found in map(root.find, ("meta/task", "meta/job", "meta")) if found is not None]
    return Task(labels=_labels(root, tracks), source=_first(meta, "source") or "", size=_size(meta),
                frames=_frames(meta), tracks=tracks, others=dict(shapes),
                rotated=sum(float(box.get("rotation", 0)) != 0 for box in root.iterfind("track/box")))


def _track(element, number):
    """-> (track id, label, [TrackBox in order of their frames]). number: position in the file, the id where none is."""
    track_id = int(element.get("id", number))
    boxes = [_box(box) for box in element.iterfind("box")]
    for i, box in enumerate(boxes, 1):
        if box.frame < 0:
            raise ValueError(f"box {i} of track {track_id} is in frame {box.frame}; frames count from 0")
    return track_id, element.attrib["label"], sorted(boxes, key=lambda box: box.frame)


def _first(elements, tag):
    """Text of the first of the elements' children with this tag, or None."""
    return next((found.text for element in elements for found in element.iterfind(tag) if found.text), None)


def _labels(root, tracks):
    """Names of the task's labels (parts of skeletons are none), then those that only tracks have."""
    listed = [label.findtext("name") for label in root.iterfind("meta/*/labels/label") if label.find("parent") is None]
    return list(dict.fromkeys([*filter(None, listed), *(label for _, label, _ in tracks)]))


def _size(meta):
    sizes = [_first(meta, f"original_size/{side}") for side in ("width", "height")]
    return None if None in sizes else tuple(map(int, sizes))


def _frames(meta):
    stop, count = _first(meta, "stop_frame"), _first(meta, "size")
    if stop is not None:
        step = re.fullmatch(r"step\s*=\s*([1-9]\d*)", (_first(meta, "frame_filter") or "step=1").strip())
        if step is None:
            raise ValueError(f"frame_filter is {_first(meta, 'frame_filter')!r}; expected step=N")
        start = int(_first(meta, "start_frame") or 0)
        if start < 0:
            raise ValueError(f"start_frame is {start}; frames count from 0")
        return range(start, int(stop) + 1, int(step.group(1)))
    return None if count is None else range(int(count))


def _box(element):
    corners = tuple(float(element.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
    return TrackBox(frame=int(element.attrib["frame"]), outside=element.get("outside") == "1",
                    occluded=int(element.get("occluded") == "1"), generated=int(element.get("keyframe") == "0"),
                    corners=_upright(corners, math.radians(float(element.get("rotation", 0)))))


def _upright(corners, angle):
    """The upright box around a box that is turned about its middle."""
    if not angle:
        return corners
    x1, y1, x2, y2 = corners
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    half = ((x2 - x1) * cos + (y2 - y1) * sin) / 2, ((x2 - x1) * sin + (y2 - y1) * cos) / 2
    middle = (x1 + x2) / 2, (y1 + y2) / 2
    return middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]
