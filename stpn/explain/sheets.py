"""Sheets of pictures: Grad-CAM of several frames, what prompts read, and where they are read."""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from .pictures import blank, grey, grid, heat, heat_or_grey, is_flat, marked, resized, seen, span, titled, titled_row

_LARGE, _SMALL = 300, 170  # pixels, widths of pictures
_MANY = 6  # pictures beside each other, from which they are small
_SCALE = "Blue: 0, red: each map's largest."  # a line over one column
_GREY = "grey: nearly the same everywhere."


class Column(NamedTuple):
    """One frame. target: Target or None; heats: [(title, (h, w) in 0..1 over the picture)]."""

    title: str
    picture: object
    target: object
    heats: list


def cam_sheet(columns):
    """-> picture: a column for each frame, itself above its heats, the target in all of them."""
    depth, columns = max(len(column.heats) for column in columns), [_cam_column(column) for column in columns]
    rows = []
    for i in range(1 + depth):
        titles, pictures = zip(*(column[i] if i < len(column) else ("", blank(column[0][1])) for column in columns))
        rows.append(titled_row(pictures, titles))
    return titled(grid(rows), _SCALE)


def _cam_heat(picture, title, values):
    """-> (title, picture). A map of nothing but 0 has no colours, which would look like evidence."""
    if values.max() <= 0:
        title += ", no positive evidence"
    return title, heat_or_grey(picture, values, 1, least_range=0)


def _cam_column(column):
    """-> [(title, picture), ...], the frame first."""
    picture, target = resized(column.picture, _LARGE), column.target
    pictures = [(column.title, picture)]
    pictures += [_cam_heat(picture, title, values) for title, values in column.heats]
    if target is None:
        return pictures
    factor = _LARGE / column.picture.shape[1]
    mask = None if target.mask is None else F.interpolate(
        target.mask[None, None].float(), picture.shape[:2], mode="bilinear")[0, 0] > 0.5
    return [(title, marked(each, [v * factor for v in target.box], mask)) for title, each in pictures]


def support_sheet(reads, supports):
    """reads: (P, K, h, w) as of support_reading. -> (picture: the support frames above, a row for each prompt below;
    {frame number: share of each prompt's reading}). A frame that stands for others beyond the video's end is shown
    once; its share counts all of its copies."""
    places = {}
    for k, number in enumerate(supports.numbers):
        places.setdefault(number, []).append(k)
    width = _SMALL if len(places) > _MANY else _LARGE
    shown = {number: resized(supports.images[copies[0]], width) for number, copies in places.items()}
    rows = [[titled(shown[number], f"frame {number}" + f", {len(copies)} times" * (len(copies) > 1))
             for number, copies in places.items()]]
    first = torch.stack([reads[:, copies[0]] for copies in places.values()], 1)
    shares = {number: reads[:, copies].sum((1, 2, 3)) for number, copies in places.items()}
    for p in range(len(reads)):
        values, flat = first[p] / seen(first[p], supports.part).max(), is_flat(first[p], supports.part)
        rows.append(titled_row(
            [grey(picture) if flat else heat(picture, values[k], supports.part)
             for k, picture in enumerate(shown.values())],
            [f"prompt {p} reads {shares[number][p]:.1%} ({span(first[p, k], supports.part)})"
             for k, number in enumerate(places)]))
    note = f"Share of each prompt's attention (and of a patch). Blue: 0, red: a row's largest; {_GREY}"
    return titled(grid(rows), note), {number: share.tolist() for number, share in shares.items()}


def prompt_sheet(maps, names, frame):
    """maps: as of prompt_reading; names: block_names; frame: Explained. -> picture: a row for the last block of each
    stage, a column for each prompt."""
    width = _SMALL if len(maps[0]) >= _MANY else _LARGE
    picture, rows = resized(frame.picture, width), []
    for i in last_blocks(names):
        row = [blank(picture) if rows else picture]
        row += [heat_or_grey(picture, values, seen(values, frame.part).max(), frame.part) for values in maps[i]]
        titles = ["" if rows else f"frame {frame.t}"]
        titles += [f"{names[i][0]}, prompt {p}: {span(values, frame.part)}" for p, values in enumerate(maps[i])]
        rows.append(titled_row(row, titles))
    note = "Share of each patch's attention that goes to a prompt (last block of each stage). "
    return titled(grid(rows), f"{note}{_SCALE[:-1]}; {_GREY}")


def last_blocks(names):
    """-> indices of the last block of each stage."""
    return [i for i, (stage, _) in enumerate(names) if i + 1 == len(names) or names[i + 1][0] != stage]


class ReadingFilm:
    """Pictures of a video: each frame, and beside it where all prompts together are read, in the last block of each
    stage. A stage has one scale for the whole film, so that frames can be compared: up to twice the largest share in
    its first frame, since prompts may be read more in a later, worse one."""

    def __init__(self, names):
        self._names, self._blocks, self._scales = names, last_blocks(names), None

    def picture(self, maps, frame):
        """maps: as of prompt_reading; frame: Explained. -> picture"""
        shares = [maps[i].sum(0) for i in self._blocks]
        if self._scales is None:
            self._scales = [(2 * share.max()).clamp(min=1e-9, max=1.0) for share in shares]
        picture = resized(frame.picture, _LARGE)
        row = [titled(picture, f"frame {frame.t}")]
        for i, share, scale in zip(self._blocks, shares, self._scales, strict=True):
            title = f"{self._names[i][0]}: prompts {span(share, frame.part)} (red: {scale:.0%})"  # always one line
            row.append(titled(heat(picture, share / scale, frame.part), title))
        return grid([row])
