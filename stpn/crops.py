"""The square regions that a tracker looks at, and boxes relative to them. Boxes are x, y, w, h in pixels here.

As MixFormer's published code has them, oddities included: its weights were trained on such crops.
"""

import math

import cv2
import numpy as np

from .errors import InputError

# Pixels a side up to which a square is made whole, as published. A larger one, as of a target that fills a 4000x3000
# frame, would take gigabytes: its pixels are taken from the image one by one (the same to within some grey levels).
_WHOLE = 8192


def crop_square(image, box, *, factor, size):
    """The square around box whose side is factor times the box's mean side, resized.

    image: uint8 (H, W, 3); outside of it the crop is black. -> (uint8 (size, size, 3), scale = size / side).
    InputError for a box without area.
    """
    padding, inside = _square(image.shape, box, factor)
    side = _side(padding, inside)
    if side > _WHOLE:
        x, y = _places(padding, inside, size)
        return cv2.remap(image, *np.meshgrid(x, y), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), size / side
    crop = np.pad(image[inside], (*padding, (0, 0)))
    return cv2.resize(crop, (size, size)), size / side


def outside_square(shape, box, *, factor, size):
    """shape: (H, W, ...) of an image -> bool (size, size) that is true where crop_square's crop shows none of it."""
    padding, inside = _square(shape, box, factor)
    if _side(padding, inside) > _WHOLE:
        x, y = _places(padding, inside, size)
        return ~(((0 <= y) & (y <= shape[0] - 1))[:, None] & ((0 <= x) & (x <= shape[1] - 1)))
    room = [part.stop - part.start for part in inside]
    outside = np.pad(np.zeros(room, np.float32), padding, constant_values=1)
    return cv2.resize(outside, (size, size)).astype(bool)


def _square(shape, box, factor):
    """-> ((top, bottom), (left, right)) pixels of the square outside the image, slices of the image within it."""
    x, y, w, h = (float(v) for v in box)
    if not (w > 0 and h > 0 and math.isfinite(x + y + w + h)):
        raise InputError(f"cannot look around the box x {x:g}, y {y:g}, w {w:g}, h {h:g}; expected finite numbers and "
                         "a width and height above 0")
    side = math.ceil(math.sqrt(w * h) * factor)
    if side < 1:
        raise InputError(f"the box of {w:g}x{h:g} pixels is too small to look around; expected at least one pixel")
    x1, y1 = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
    padding, inside = [], []
    for start, length in zip((y1, x1), shape, strict=False):
        before, after = _padding(start, side, length)
        first = min(max(0, start + before), length)
        last = max(first, min(start + side - after, length))
        padding.append((before, side - before - (last - first)))
        inside.append(slice(first, last))
    return tuple(padding), tuple(inside)


def _side(padding, inside):
    return sum(padding[0]) + inside[0].stop - inside[0].start


def _places(padding, inside, size):
    """-> x, y: float32 (size,) where the square's pixels are taken from in the image, when it is resized to size."""
    steps = (np.arange(size, dtype=np.float32) + 0.5) * (_side(padding, inside) / size) - 0.5
    starts = [part.start - before for (before, _), part in zip(padding, inside, strict=True)]
    return steps + np.float32(starts[1]), steps + np.float32(starts[0])


_LARGEST = 3  # a box may be so much larger than its frame: the memory of what is cropped grows with it


def check_image(image):
    """InputError unless it is np.uint8 (H, W, 3)."""
    shape, kind = getattr(image, "shape", ()), getattr(image, "dtype", type(image).__name__)
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.size and shape[2:] == (3,)):
        raise InputError(f"the image is {kind} of shape {tuple(shape)}; expected uint8 (H, W, 3), RGB")


def check_box(box, height, width):
    """-> box as four floats x, y, w, h. InputError unless it is finite, has an area, shows some of the image and is not
    many times as large."""
    try:
        numbers = [float(v) for v in box]
    except (TypeError, ValueError):
        raise InputError(f"the box is {box!r}; expected four finite numbers x,y,w,h in pixels") from None
    said = ", ".join(f"{v:g}" for v in numbers)
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise InputError(f"the box is {said}; expected four finite numbers x,y,w,h in pixels")
    x, y, w, h = numbers
    if not (w > 0 and h > 0):
        raise InputError(f"the box is {said} (x,y,w,h); expected a width and a height above 0")
    if not (x < width and y < height and x + w > 0 and y + h > 0):
        raise InputError(f"the box is {said} (x,y,w,h), outside the frame of {width}x{height} pixels; expected one "
                         "that shows some of it")
    if w > _LARGEST * width or h > _LARGEST * height:
        raise InputError(f"the box is {w:g}x{h:g} pixels, the frame {width}x{height}; expected at most {_LARGEST} "
                         "times its width and height")
    return numbers


def _padding(start, side, length):
    """-> pixels of the crop before and after the image along one axis. One too many after it, as published: at a
    border the image's last row or column is lost."""
    before = min(side, max(0, -start))
    return before, min(side - before, max(0, start + side - length + 1))


def box_in_crop(box, around, *, scale, size):
    """box: x, y, w, h in the image; around: the box that the crop was taken around. -> np.float64 (4,) x, y, w, h
    relative to the crop, 0..1 if it lies inside. Training's mapping: the crop's centre is at (size - 1) / 2."""
    box, around = np.asarray(box, np.float64), np.asarray(around, np.float64)
    centre = (box[:2] + 0.5 * box[2:] - around[:2] - 0.5 * around[2:]) * scale + (size - 1) / 2
    extent = box[2:] * scale
    return np.concatenate([centre - 0.5 * extent, extent]) / size


def box_in_image(box, around, *, scale, size):
    """box: cx, cy, w, h relative to a crop around `around`. -> [x, y, w, h] in the image. Testing's mapping: the crop's
    centre is at size / 2."""
    cx, cy, w, h = (float(v) * size / scale for v in box)
    half = 0.5 * size / scale
    x, y = cx + around[0] + 0.5 * around[2] - half, cy + around[1] + 0.5 * around[3] - half
    return [x - 0.5 * w, y - 0.5 * h, w, h]


def clip_box(box, height, width, *, margin=10):
    """x, y, w, h -> the part within a height x width image, at least margin pixels wide and high."""
    x, y, w, h = box
    x1, x2 = min(max(0, x), width - margin), min(max(margin, x + w), width)
    y1, y2 = min(max(0, y), height - margin), min(max(margin, y + h), height)
    return [x1, y1, max(margin, x2 - x1), max(margin, y2 - y1)]
