"""A page of frames with their boxes, for a look at a data set: one row a video, colours by track."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw

from ...errors import atomic_path
from ..datasets.mask_rle import decode
from .sheet_font import font_for

TILE = 320, 240  # pixels a frame gets at most
MARGIN, TITLE = 8, 18  # pixels between the tiles; height of the line above each
_LINE = 2  # pixels, on the sheet
_PAPER, _INK = (255, 255, 255), (30, 30, 30)
_GOLDEN = 0.618033988749895  # steps of this around the colour circle keep all colours apart


def track_color(track):
    """RGB in 0..255; track: None, or an id. Neighbouring ids get colours that differ much."""
    if track is None:
        return 128, 128, 128
    hue, light = track * _GOLDEN % 1.0, 0.42 + 0.1 * (track // 7 % 2)
    return tuple(round(255 * part) for part in colorsys.hls_to_rgb(hue, light, 1.0))


def tint(image, masks):
    """image: np.uint8 (H, W, 3) RGB. masks: list of (RLE or polygons of this size, track). -> a copy with each mask in
    the colour of its track, half transparent."""
    image = image.copy()
    for mask, track in masks:
        inside = decode(mask, image.shape[:2])
        image[inside] = (image[inside].astype(np.uint16) + track_color(track)) // 2
    return image


def draw_tile(image, boxes, title):
    """image: np.uint8 (H, W, 3) RGB. boxes: list of (corners in its pixels, label, track).
    -> PIL image, TILE[0] wide: a line of title, under it the frame scaled into TILE."""
    height, width = image.shape[:2]
    scale = min(TILE[0] / width, TILE[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    tile = Image.new("RGB", (TILE[0], size[1] + TITLE), _PAPER)
    tile.paste(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR), (0, TITLE))
    draw, (font, title) = ImageDraw.Draw(tile), font_for(title)
    draw.text((0, 1), _fitting(title, font, TILE[0]), fill=_INK, font=font)
    placed = [(_place(corners, scale, size), label, track) for corners, label, track in boxes]
    for box, label, track in placed:
        _write_label(draw, box, label if track is None else f"{label} {track}", track_color(track))
    for box, _, track in placed:  # last: no label hides a box
        draw.rectangle(box, outline=track_color(track), width=_LINE)
    return tile


def _place(corners, scale, size):
    """Corners in the frame -> first and last pixels on the tile."""
    x1, y1, x2, y2 = np.clip(np.round(np.multiply(corners, scale)), 0, (*size, *size)).tolist()
    return x1, y1 + TITLE, max(x1, x2 - 1), max(y1, y2 - 1) + TITLE


def write_sheet(path, rows):
    """rows: lists of tiles, one list a video. Writes the PNG; its folder is made."""
    width, heights = TILE[0] + MARGIN, [max(tile.height for tile in row) + MARGIN for row in rows]
    sheet = Image.new("RGB", (max(map(len, rows)) * width + MARGIN, sum(heights) + MARGIN), _PAPER)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            sheet.paste(tile, (j * width + MARGIN, sum(heights[:i]) + MARGIN))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        sheet.save(part, format="PNG")


def _write_label(draw, box, text, color):
    """Above the box, or inside where there is no room."""
    font, text = font_for(text)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    x = max(0, min(box[0], TILE[0] - (right - left) - 4))
    y = box[1] - (bottom - top) - 4
    y = y if y >= TITLE else box[1] + _LINE
    draw.rectangle((x, y, x + right - left + 3, y + bottom - top + 3), fill=color)
    draw.text((x + 2 - left, y + 2 - top), text, fill=_PAPER, font=font)


def _fitting(text, font, width):
    """The end of a text as far as it fits: of a path that says most."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"...{text}") > width:
        text = text[1:]
    return f"...{text}"
