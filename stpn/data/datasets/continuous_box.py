"""Boxes as COCO writes them: [x, y, width, height], continuous coordinates in pixels of a W x H picture."""

import math


def corners(bbox):
    """-> x1, y1, x2, y2."""
    x, y, width, height = map(float, bbox)
    return x, y, x + width, y + height


def is_finite(bbox):
    try:
        return all(map(math.isfinite, corners(bbox)))
    except OverflowError:  # a whole number beyond the floats
        return False


def clip_box(bbox, size):
    """-> [x1, y1, x2, y2] clipped to [0, W] x [0, H], or None when that is less than a pixel wide or high (swapped
    corners included) or not finite: frame_xml's rule for inclusive corners, in continuous coordinates."""
    if not is_finite(bbox):
        return None
    x1, y1, x2, y2 = (min(max(value, 0.0), float(size[i % 2])) for i, value in enumerate(corners(bbox)))
    return [x1, y1, x2, y2] if x2 - x1 >= 1 and y2 - y1 >= 1 else None
