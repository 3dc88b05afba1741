"""Heat over pictures, and pictures beside each other. Pictures are uint8 (H, W, 3) RGB."""

import textwrap

import cv2
import numpy as np
import torch

_GAP = 4  # pixels between pictures
_TITLE = 18  # pixels of a line of text
_LETTER = 7.5  # pixels, about, of a letter
_WHITE = (255, 255, 255)


def heat(image, values, part=(1.0, 1.0)):
    """image with values, a tensor (h, w) in 0..1, as colours from blue (0) to red (1) over it -> a new picture.

    part: the part of the values' height and width that lies over the image; the rest, below and right, is dropped."""
    values = values.detach().cpu().numpy().astype(np.float32)
    whole = [max(1, round(side / share)) for side, share in zip(image.shape[:2], part, strict=True)]
    values = cv2.resize(values, whole[::-1], interpolation=cv2.INTER_LINEAR)[:image.shape[0], :image.shape[1]]
    colors = cv2.applyColorMap(np.rint(255 * values.clip(0, 1)).astype(np.uint8), cv2.COLORMAP_TURBO)[:, :, ::-1]
    return image // 2 + colors // 2


def scaled(values):
    """Tensor of values from 0 -> the same with 1 as the largest."""
    return values / values.max().clamp(min=torch.finfo(values.dtype).tiny)


def marked(image, box, mask=None):
    """image with the outline of box (XYXY in its pixels) or of mask ((H, W) bool), white with a dark rim -> a new
    picture."""
    image = np.ascontiguousarray(image).copy()
    if mask is None:
        x1, y1, x2, y2 = (round(v) for v in box)
        lines = [np.array([[x1, y1], [x2 - 1, y1], [x2 - 1, y2 - 1], [x1, y2 - 1]]).reshape(-1, 1, 2)]
    else:
        lines, _ = cv2.findContours(mask.numpy().astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.polylines(image, lines, True, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.polylines(image, lines, True, _WHITE, 1, cv2.LINE_AA)
    return image


def resized(image, width):
    """image, scaled to width pixels with its proportions kept."""
    size = width, max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC if width > image.shape[1] else cv2.INTER_AREA)


def titled(image, text, *, width=None):
    """image, scaled to width pixels, with text above, in as many lines as it takes."""
    image = resized(image, width) if width else image
    lines = textwrap.wrap(text, max(8, int(image.shape[1] / _LETTER))) or [""]
    strip = np.full((_TITLE * len(lines), image.shape[1], 3), 255, np.uint8)
    for i, line in enumerate(lines):
        cv2.putText(strip, line, (2, _TITLE * (i + 1) - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([strip, image])


def blank(like):
    """A white picture of the size of like."""
    return np.full_like(like, 255)


def grid(rows):
    """Rows of pictures -> one picture, white between and behind."""
    return _stacked([_stacked(row, axis=1) for row in rows], axis=0)


def png(picture):
    """-> bytes of a PNG file."""
    return cv2.imencode(".png", np.ascontiguousarray(picture[:, :, ::-1]))[1].tobytes()


def _stacked(pictures, axis):
    other = 1 - axis
    most = max(picture.shape[other] for picture in pictures)
    parts = []
    for picture in pictures:
        padding = [(0, 0), (0, 0), (0, 0)]
        padding[other], padding[axis] = (0, most - picture.shape[other]), (0, _GAP)
        parts.append(np.pad(picture, padding, constant_values=255))
    return np.concatenate(parts, axis)
