"""Labels in a plot that do not lie on each other."""

import math

_FONT = 8.5
_AROUND = [(radius, turn * math.pi / 8) for radius in (11, 18, 28, 40, 54, 72) for turn in range(16)]  # points, angle


def spread_apart(places, gap, *, low, high):
    """places: numbers -> the same in the same order of size, at least `gap` apart and within low..high where there is
    room for all, each near its own. Below low only if there is no room."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved, least = list(places), low
    for i in order:
        moved[i] = least = max(places[i], least)
        least += gap
    most = high
    for i in reversed(order):
        moved[i] = most = min(moved[i], most)
        most -= gap
    return moved


def label_levels(figure, axes, levels, *, texts, colors):
    """Write texts to the right of axes, each at its level's height or as near as there is room, tied to it by a line.

    Fixes the figure's margins, as the longest text needs."""
    renderer = figure.canvas.get_renderer()
    written = [axes.annotate(text, (1, level), xycoords=("axes fraction", "data"), xytext=(14, 0), va="center",
                             textcoords="offset points", fontsize=_FONT, color=color, annotation_clip=False)
               for text, level, color in zip(texts, levels, colors)]
    boxes = [text.get_window_extent(renderer) for text in written]
    room = max((box.width for box in boxes), default=0) + 22 * figure.dpi / 72
    figure.subplots_adjust(left=0.09, right=1 - room / figure.bbox.width, bottom=0.12, top=0.9, wspace=0.02)
    axes.autoscale_view()  # matplotlib puts it off until it draws
    at = [axes.transData.transform((0, level))[1] for level in levels]
    gap = max((box.height for box in boxes), default=0) * 1.1
    for text, place, moved in zip(written, at, spread_apart(at, gap, low=axes.bbox.y0, high=axes.bbox.y1)):
        offset = (moved - place) * 72 / figure.dpi
        text.xyann = (14, offset)
        axes.annotate("", (1, text.xy[1]), xycoords=("axes fraction", "data"), xytext=(13, offset),
                      textcoords="offset points", annotation_clip=False,
                      arrowprops={"arrowstyle": "-", "color": text.get_color(), "linewidth": 0.7, "shrinkA": 0,
                                  "shrinkB": 0})


def label_points(figure, axes, points, *, texts, colors):
    """Write each text beside its point, at the first place around it that is free of markers and other labels, or at
    that where it covers least. The figure's margins must be final."""
    renderer, scale = figure.canvas.get_renderer(), figure.dpi / 72
    axes.autoscale_view()  # matplotlib puts it off until it draws
    centers = [axes.transData.transform(point) for point in points]
    taken = [_square(center, 11 * scale) for center in centers]
    for point, center, text, color in zip(points, centers, texts, colors):
        written = axes.annotate(text, point, xytext=(0, 0), textcoords="offset points", fontsize=_FONT, va="center",
                                ha="center", color=color, linespacing=1.05)
        size = written.get_window_extent(renderer)
        tries = [_beside(center, radius * scale, turn, size) for radius, turn in _AROUND]
        box = min(tries, key=lambda place: sum(_common(place, other) for other in taken) + _outside(place, axes.bbox))
        taken.append(box)
        written.xyann = tuple(((box[i] + box[i + 2]) / 2 - center[i]) / scale for i in (0, 1))
        if math.dist(center, _nearest(box, center)) > 14 * scale:
            axes.annotate("", point, xytext=[(a - b) / scale for a, b in zip(_nearest(box, center), center)],
                          textcoords="offset points", arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6})


def _square(center, half):
    return center[0] - half, center[1] - half, center[0] + half, center[1] + half


def _beside(center, radius, turn, size):
    """-> x1, y1, x2, y2 of a text of that size whose nearest side is `radius` from center, in direction turn."""
    x = center[0] + math.cos(turn) * (radius + size.width / 2)
    y = center[1] + math.sin(turn) * (radius + size.height / 2)
    return x - size.width / 2, y - size.height / 2, x + size.width / 2, y + size.height / 2


def _common(a, b):
    """Area that both boxes cover."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box, frame):
    area = (box[2] - box[0]) * (box[3] - box[1])
    return area - _common(box, (frame.x0, frame.y0, frame.x1, frame.y1))


def _nearest(box, point):
    return min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])
