"""What a model found, drawn on the frame: boxes of detections, masks of tracks, and a label for each.

In the manner of detectron2's Visualizer, but with OpenCV and Pillow: its polygons and its canvas take 134 ms for
five masks of 480x270, these 5 ms.
"""

from __future__ import annotations

import colorsys
import math
from functools import lru_cache

import cv2
import numpy as np
from detectron2.utils.colormap import colormap
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

_COLORS = colormap(rgb=True, maximum=1)
_GOLDEN = (5 ** 0.5 - 1) / 2  # multiples of it stay apart on a circle, however many there are
_BEHIND_TEXT = (0, 0, 0, 204)  # RGBA
_LOST_ALPHA = 140  # of 255
_TRIES = 8  # places further down, and as many further up, where a label may find room


def class_color(index):
    """RGB in 0..1; a class has the same colour in every frame and every run."""
    return tuple(_COLORS[index % len(_COLORS)])


def track_color(number):
    """RGB in 0..1 of a track of this number >= 0: the same in every frame of the video and every run."""
    hue, lightness = number * _GOLDEN % 1, 0.7 + 0.3 * (number * 2 ** 0.5 % 1)
    return colorsys.hsv_to_rgb(hue, 0.85, lightness)


def draw_detections(image, instances, class_names):
    """image: np.uint8 (H, W, 3) RGB. instances: pred_boxes in its pixels, scores, pred_classes; with pred_ids in the
    colours of their tracks; with pred_masks (n, H, W) bool, masks are drawn instead of boxes; with pred_lost (n,) bool,
    boxes of those are dim and dashed. -> a new picture of the same size and kind."""
    boxes = boxes_near(image, instances)
    masked, followed = instances.has("pred_masks"), instances.has("pred_ids")
    colors = [_bytes(color) for color in colors_of(instances)]
    lost = lost_of(instances)
    large_first = np.argsort(-instances.pred_boxes.area().numpy(), kind="stable")  # small ones stay visible
    picture = image.copy()
    if masked:
        for i in large_first:
            _paint(picture, instances.pred_masks[i].numpy(), boxes[i], colors[i])
    canvas = _Canvas(picture)
    if not masked:
        for i in large_first:
            canvas.box(boxes[i], colors[i], lost=lost[i])
    for i, label in enumerate(labels_of(instances, class_names)):
        canvas.write(label, boxes[i, :2], _lighter(colors[i]), above=followed)  # what is followed should be seen whole
    return canvas.picture()


def draw_note(image, text):
    """image with a line of text at the top, for frames that have no picture."""
    canvas = _Canvas(image)
    canvas.write(text, (2, 2), (255, 255, 255))
    return canvas.picture()


def boxes_near(image, instances):
    """-> np.float32 (n, 4) XYXY. Edges that nobody sees are moved to at most the picture's size outside of it."""
    size = np.float32(image.shape[1::-1] * 2)
    return np.clip(instances.pred_boxes.tensor.numpy(), -size, 2 * size)


def colors_of(instances):
    """-> RGB in 0..1 of each: its track's or, without pred_ids, its class's."""
    if instances.has("pred_ids"):
        return [track_color(number) for number in instances.pred_ids.tolist()]
    return [class_color(c) for c in instances.pred_classes.tolist()]


def lost_of(instances):
    """-> list of bool: has a tracker lost it?"""
    return instances.pred_lost.tolist() if instances.has("pred_lost") else [False] * len(instances)


def labels_of(instances, class_names):
    """-> what is written at each detection: class and score (if it is known), the number of a track, "lost"."""
    labels = [class_names[c] if math.isnan(score) else f"{class_names[c]} {score:.0%}" for c, score in
              zip(instances.pred_classes.tolist(), instances.scores.tolist(), strict=True)]
    if instances.has("pred_ids"):
        labels = [f"{label} #{number}" for label, number in zip(labels, instances.pred_ids.tolist(), strict=True)]
    return [f"{label} lost" if lost else label for label, lost in zip(labels, lost_of(instances), strict=True)]


def _paint(picture, mask, box, color):
    """Tint picture under mask (H, W) bool, in place, with an outline. box: XYXY, holds the whole mask."""
    x0, y0, x1, y1 = (int(v) for v in (*np.floor(box[:2]), *np.ceil(box[2:])))
    area, mask = picture[y0:y1, x0:x1], mask[y0:y1, x0:x1]
    cv2.copyTo(area // 2 + np.array(color, np.uint8) // 2, mask.astype(np.uint8), area)  # half transparent
    # What lies outside the box counts as not in the mask, so that the outline is closed there too.
    inside = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    area[mask & (inside == 0)] = color


class _Canvas:
    """A copy of image (np.uint8 (H, W, 3) RGB) to draw boxes and text on."""

    def __init__(self, image):
        self._image = Image.fromarray(image)
        self._draw = ImageDraw.Draw(self._image, "RGBA")
        self._unit = max(11, round(np.sqrt(image.shape[0] * image.shape[1]) / 70))  # pixels, height of text
        self._written = []  # rectangles of the labels

    def box(self, box, color, *, lost=False):
        """box: XYXY in pixels. lost: dashed and half transparent."""
        x0, y0, x1, y1 = box.tolist()
        corners, width = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), max(2, self._unit // 7)
        if lost:
            self._dashed(corners, color, width)
        else:
            self._draw.rectangle(corners, outline=color, width=width)

    def _dashed(self, corners, color, width):
        outline = Image.new("L", self._image.size)
        ImageDraw.Draw(outline).rectangle(corners, outline=_LOST_ALPHA, width=width)
        y, x = np.ogrid[:outline.height, :outline.width]
        dashes = ((x + y) // (3 * width) % 2).astype(np.uint8)  # slanting stripes: dashes on every edge
        self._image.paste(color, mask=Image.fromarray(np.array(outline) * dashes))

    def write(self, text, corner, color, *, above=False):
        """corner: (x, y) of the text's upper left, or above it, moved so that the text is inside the picture and, if
        there is room below or above, does not cover earlier text."""
        font = _font(self._unit)
        left, top, right, bottom = self._draw.textbbox((0, 0), text, font=font)
        room = self._image.width - right - 1, self._image.height - bottom - 1
        x, y = (max(0, min(at, most)) for at, most in zip((corner[0], corner[1] - above * (bottom + 1)), room))
        area = np.array((x + left - 1, y + top - 1, x + right, y + bottom), np.float64)  # in a corner all are whole
        shift = self._free(area)
        self._written.append(area + (0, shift, 0, shift))
        self._draw.rectangle(tuple(self._written[-1].tolist()), fill=_BEHIND_TEXT)
        self._draw.text((x, y + shift), text, font=font, fill=color)

    def _free(self, area):
        """area: (x0, y0, x1, y1), all inside. -> by how much it goes down (or, negative, up) to be free."""
        for down in (True, False):
            moved = area.copy()
            for _ in range(_TRIES):
                other = next((r for r in self._written if _meet(moved, r)), None)
                if other is None:
                    return moved[1] - area[1]
                moved[1::2] += other[3] + 1 - moved[1] if down else other[1] - 1 - moved[3]
                if moved[1] < 0 or moved[3] >= self._image.height:
                    break
        return 0

    def picture(self):
        return np.array(self._image)


def _meet(a, b):
    """Do two rectangles (x0, y0, x1, y1), ends included, share a point?"""
    return (a[:2] <= b[2:]).all() and (b[:2] <= a[2:]).all()


@lru_cache(maxsize=8)
def _font(size):
    return ImageFont.truetype(findfont("DejaVu Sans"), size)  # matplotlib brings it


def _bytes(color):
    return tuple(round(255 * v) for v in color)


def _lighter(color):
    """Towards white, so that it is read on black."""
    return tuple((v + 255) // 2 for v in color)
