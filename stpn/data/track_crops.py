"""From a frame and a box to what a tracker reads: jittered squares, their boxes, changes of a whole sample and of one
crop. Boxes of frames are x, y, w, h in pixels; those of crops x1, y1, x2, y2 relative to the crop, 0..1."""

from typing import NamedTuple

import cv2
import numpy as np

from ..crops import box_in_crop, crop_square, outside_square

_CELL = 16  # pixels of a crop that become one cell of the network's map


class View(NamedTuple):
    """How a kind of crop is taken. size: side in pixels; factor: side of the square relative to sqrt(w * h);
    center: largest shift relative to sqrt(w * h), counted from end to end; scale: size times exp(N(0, 1) * scale)."""

    size: int
    factor: float
    center: float = 0.0
    scale: float = 0.0


class Whole(NamedTuple):
    """What happens to all frames of a sample alike."""

    flip: bool
    gray: bool

    def apply(self, image, box):
        """np.uint8 (H, W, 3) RGB, box -> the same of the changed frame."""
        if self.gray:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if self.flip:
            x, y, w, h = box
            # Pixel x goes to W - 1 - x, and so do the box's ends, as published: it comes to lie a pixel to the left.
            image, box = np.ascontiguousarray(image[:, ::-1]), np.array([image.shape[1] - 1 - (x + w), y, w, h])
        return image, box


class Single(NamedTuple):
    """What happens to one crop apart. brightness: factor, 1 leaves the crop as it is."""

    flip: bool
    brightness: float

    @classmethod
    def draw(cls, rng, *, flip, brightness):
        """flip: probability; brightness: the factor lies within 1 -+ this."""
        return cls(bool(rng.random() < flip), float(rng.uniform(1 - brightness, 1 + brightness)))

    def apply(self, crop, box):
        """np.uint8 (S, S, 3), box of the crop -> the same of the changed crop."""
        if self.brightness != 1:
            crop = np.clip(np.rint(crop * np.float32(self.brightness)), 0, 255).astype(np.uint8)
        if self.flip:
            crop, box = crop[:, ::-1], np.array([1 - box[2], box[1], 1 - box[0], box[3]])
        return crop, box


def jittered(box, view, rng):
    """-> box to look around instead of `box`: another size, then another centre, by View's law. rng: numpy Generator,
    from which as many numbers are drawn whatever the view."""
    size = box[2:] * np.exp(rng.standard_normal(2) * view.scale)
    shift = (rng.random(2) - 0.5) * np.sqrt(size.prod()) * view.center
    return np.concatenate([box[:2] + box[2:] / 2 + shift - size / 2, size])


def look(image, box, around, view):
    """-> (np.uint8 (size, size, 3) around `around`, box within it, clipped to it; or None, None where the network would
    see the frame's outside alone)."""
    if outside_square(image.shape, around, factor=view.factor, size=view.size)[::_CELL, ::_CELL].all():
        return None, None
    crop, scale = crop_square(image, around, factor=view.factor, size=view.size)
    x, y, w, h = box_in_crop(box, around, scale=scale, size=view.size)
    return crop, np.clip([x, y, x + w, y + h], 0, 1)


def middle_box(height, width):
    """-> the box in a frame's middle that stands for a target that is not there: an eighth of it wide and high."""
    return np.array([width / 2 - width / 16, height / 2 - height / 16, width / 8, height / 8])
