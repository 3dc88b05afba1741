"""Where a tracker's targets are in its first frame: boxes x, y, w, h in pixels, given, typed or drawn by hand."""

from __future__ import annotations

import os
import re
import sys

import cv2

from ..crops import check_box
from ..errors import InputError

_TITLE = "Draw a box around the target, then press Enter"
_LARGEST = (1600, 900)  # pixels (W, H) of the window; larger frames are shown smaller


class BoxError(InputError):
    """A box that no tracker can begin with."""


def is_tracker(model):
    """Does model follow targets whose boxes it is given?"""
    return hasattr(model, "tracker")


def check_given(boxes, model):
    """InputError unless a tracker has boxes that look like some, or a function that makes them, and another model has
    None."""
    if not is_tracker(model):
        if boxes is not None:
            raise InputError(f"boxes were given to a {type(model).__name__}, which finds its objects itself; leave "
                             "them out, or choose a tracker")
    elif boxes is None:
        raise InputError("a tracker got no boxes; expected boxes=[[x, y, w, h], ...], where its targets are in the "
                         "first frame")
    elif not callable(boxes):
        rows_of(boxes)


def joined_boxes(argv):
    """argv with "--init", "-10,5,30,30" as "--init=-10,5,30,30": argparse takes what begins with a minus for an
    option."""
    joined = []
    for text in argv:
        if joined and joined[-1] == "--init" and re.match(r"-[\d.]", text):
            text = f"{joined.pop()}={text}"
        joined.append(text)
    return joined


def parse_box(text):
    """"x,y,w,h" -> four floats. BoxError unless it is finite numbers with an area; check_boxes knows the frame."""
    try:
        x, y, w, h = (float(part) for part in text.split(","))
    except ValueError:
        raise BoxError(f"the box {text!r} is not four numbers; expected x,y,w,h in pixels of the first frame, such as "
                       "120,80,60,40") from None
    if w > 0 and h > 0 and (x + w <= 0 or y + h <= 0):
        raise BoxError(f"the box is {text} (x,y,w,h), outside the frame, whatever its size: it ends left of it or "
                       "above it; expected one that shows some of it")
    return _checked([x, y, w, h], abs(y) + abs(h) + 1, abs(x) + abs(w) + 1)


def rows_of(boxes):
    """What a caller gave -> a list of n >= 1 lists of floats. BoxError if it is something else."""
    try:
        rows = [[float(v) for v in box] for box in boxes]
    except (TypeError, ValueError):
        rows = []
    if not rows or any(len(row) != 4 for row in rows):
        raise BoxError(f"boxes is {' '.join(repr(boxes).split())}; expected a list with a box for each target, "
                       "[[x, y, w, h], ...] in pixels of the first frame")
    return rows


def check_boxes(boxes, frame):
    """boxes: as rows_of takes them, or a function that makes them from the frame's image. frame: Frame, the first that
    could be read. -> list of n lists of floats x, y, w, h. BoxError for one without area or outside the frame."""
    rows = rows_of(boxes(frame.image) if callable(boxes) else boxes)
    where = f" in frame {frame.index}, the first that can be read" if frame.index else ""
    return [_checked(row, *frame.image.shape[:2], where=f"{where} (target {i})" if len(rows) > 1 else where)
            for i, row in enumerate(rows)]


def ask_for_box(image):
    """Show image, np.uint8 (H, W, 3) RGB, and let the user draw. -> [[x, y, w, h]]. BoxError without a window."""
    height, width = image.shape[:2]
    shown = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
    small = cv2.resize(image, None, fx=shown, fy=shown, interpolation=cv2.INTER_AREA) if shown < 1 else image
    try:
        if not _display():
            raise cv2.error("no display")
        box = cv2.selectROI(_TITLE, small[:, :, ::-1].copy(), showCrosshair=False)  # BGR
        cv2.destroyWindow(_TITLE)
    except cv2.error:
        raise BoxError("no window can be opened here to draw the target's box in (no display, or OpenCV without "
                       "windows); give the box as --init x,y,w,h") from None
    if not (box[2] and box[3]):
        raise BoxError("no box was drawn; drag one around the target, then press Enter, or give it as --init x,y,w,h")
    return [[v / shown for v in box]]


def _display():
    """Without one, OpenCV's windows of some kinds end the process instead of raising an error."""
    return sys.platform in ("win32", "darwin") or any(os.environ.get(k) for k in ("DISPLAY", "WAYLAND_DISPLAY"))


def _checked(box, height, width, *, where=""):
    try:
        numbers = check_box(box, height, width)
    except InputError as error:
        raise BoxError(f"{error}{where}") from None
    return numbers
