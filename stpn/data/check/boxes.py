"""What can be wrong with a box, and what training makes of it."""

import math

from .problems import GOES_ON, KINDS

_ROUNDING = 1e-6  # pixels over the border that are no more than rounding


def box_fault(corners, size, *, inclusive):
    """-> the kind of problem a box has in a picture of size (width, height) or of unknown size, or None.

    The first that holds of: not finite, swapped corners, less than a pixel wide or high, less than a pixel
    of it inside, reaching over the border. What the loaders drop are exactly the first four.
    """
    if not all(map(math.isfinite, corners)):
        return "box not finite"
    x1, y1, x2, y2 = corners
    if x2 < x1 or y2 < y1:
        return "box swapped"
    if x2 - x1 < 1 or y2 - y1 < 1:
        return "box degenerate"
    inside = _inside(corners, size, inclusive)
    if inside[2] - inside[0] < 1 or inside[3] - inside[1] < 1:
        return "box outside"
    over = max(abs(a - b) for a, b in zip(inside, corners))
    return "box clipped" if over > _ROUNDING else None


def usable_boxes(frame, *, inclusive):
    """-> the CheckedBoxes of a frame that training sees, clipped to the picture."""
    kept = []
    for box in frame.boxes:
        fault = box_fault(box.corners, frame.size, inclusive=inclusive)
        if box.label is not None and (fault is None or KINDS[fault].effect == GOES_ON):
            kept.append(box._replace(corners=_inside(box.corners, frame.size, inclusive)))
    return kept


def _inside(corners, size, inclusive):
    """The part of a box in a picture of size (width, height); None: of a size that is not known."""
    if size is None:
        return tuple(corners)
    (x1, y1, x2, y2), (right, bottom) = corners, (side - inclusive for side in size)
    return max(x1, 0), max(y1, 0), min(x2, right), min(y2, bottom)


def report_boxes(frame, findings, *, inclusive, crowds=False):
    """Add the faults of a frame's boxes to findings. Objects of no known class are another matter. crowds: crowd
    regions are none."""
    shape = f" in a picture of {frame.size[0]}x{frame.size[1]}" if frame.size else ""
    for box in frame.boxes:
        fault = box.label is not None and box_fault(box.corners, frame.size, inclusive=inclusive)
        if box.crowd and not crowds:
            findings.add("crowd", box.where, f"frame {frame.index} of {frame.video_id}")
        if fault:
            corners = ", ".join(f"{corner:g}" for corner in box.corners)
            findings.add(fault, box.where, f"x1, y1, x2, y2 = {corners}{shape}")
