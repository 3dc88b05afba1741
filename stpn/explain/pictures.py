"""Heat over pictures, and pictures beside each other. Pictures are uint8 (H, W, 3) RGB."""

import math
import textwrap

import cv2
import numpy as np

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


def heat_or_grey(image, values, scale, part=(1.0, 1.0), *, least_range=0.05):
    """heat of values / scale; of values without a place of their own, a picture without colours: all 0, or their range
    less than least_range of the largest."""
    return grey(image) if is_flat(values, part, least_range=least_range) else heat(image, values / scale, part)


def grey(image):
    """image without its colours, with three channels."""
    return np.repeat(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def is_flat(values, part=(1.0, 1.0), *, least_range=0.05):
    """Are values, (..., h, w) from 0, nearly the same all over the picture?"""
    values = seen(values, part)
    return bool(values.max() <= 0 or values.max() - values.min() < least_range * values.max())


def seen(values, part):
    """Those of values, (..., h, w), that lie over the picture; part as in heat."""
    h, w = (max(1, math.ceil(side * share - 1e-6)) for side, share in zip(values.shape[-2:], part, strict=True))
    return values[..., :h, :w]


def span(values, part=(1.0, 1.0)):
    """Smallest and largest of shares 0..1 over the picture, as text: "0.49-0.51%", at most 14 letters."""
    low, high = (100 * float(end) for end in (seen(values, part).min(), seen(values, part).max()))
    digits = 2 if high <= 0 else min(4, max(2, 1 - math.floor(math.log10(high))))
    return f"{low:.{digits}f}-{high:.{digits}f}%"


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


def titled(image, text, *, width=None, size=1, least_lines=1):
    """image, scaled to width pixels, with text above, in as many lines as it takes. size: of the text, 1, 2, ...;
    least_lines: room that is left for text, so that pictures beside each other stay level."""
    image = resized(image, width) if width else image
    lines = lines_of(text, image.shape[1] // size)
    line_height = _TITLE * size
    strip = np.full((line_height * max(least_lines, len(lines)), image.shape[1], 3), 255, np.uint8)
    for i, line in enumerate(lines):
        cv2.putText(strip, line, (2, line_height * (i + 1) - 5 * size), cv2.FONT_HERSHEY_SIMPLEX, 0.42 * size,
                    (0, 0, 0), size, cv2.LINE_AA)
    return np.concatenate([strip, image])


def lines_of(text, width):
    """-> the lines of a title over a picture of that many pixels."""
    return textwrap.wrap(text, max(8, int(width / _LETTER))) or [""]


def titled_row(pictures, titles):
    """-> list of pictures of one width, each with its title, all titles of the same height."""
    most = max(len(lines_of(title, picture.shape[1])) for picture, title in zip(pictures, titles, strict=True))
    return [titled(picture, title, least_lines=most) for picture, title in zip(pictures, titles, strict=True)]


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
