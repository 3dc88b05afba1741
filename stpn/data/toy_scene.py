"""Drawing for the toy video set: objects told apart by an inner pattern, over a drifting texture.

Letters: T frames, S side of a square patch around one object, H W pixels; u, v are coordinates on an
object's body, -1..1 from edge to edge, turning with it. Colours are RGB floats 0..255. A layer is a
float32 patch (S, S, 4), colour multiplied by coverage and then coverage 0..1, with the pixel (x0, y0)
of its top left corner: what blurs a layer blurs the object and leaves the background sharp.
"""

from dataclasses import dataclass

import cv2
import numpy as np

# Objects are this many pixels across (longer side); below about 38 a tiny detector hardly learns the
# patterns. Turning and outline widen the box by up to 15%.
SIZE_RANGE = (38.0, 62.0)
MAX_ANGLE = np.deg2rad(20.0)
OUTLINE_PIXELS = 2.0


def _wave(obj, x):
    return np.sin(np.pi * obj.cycles * x + obj.phase[0])


def _checks(obj, u, v):
    return 2 * _wave(obj, u) * np.sin(np.pi * obj.cycles * v + obj.phase[1])


def _dots(obj, u, v):
    lattice = np.cos(np.pi * obj.cycles * u + obj.phase[0]) + np.cos(np.pi * obj.cycles * v + obj.phase[1])
    return lattice - 0.7


def _plus(obj, u, v):
    return 6 * (0.5 / obj.cycles - np.minimum(np.abs(u), np.abs(v)))


def _cross(obj, u, v):
    return _plus(obj, (u + v) * np.sqrt(0.5), (u - v) * np.sqrt(0.5))


# Class name -> (obj, u, v) -> field that is positive where the pattern is inked. The order is the label.
PATTERNS = {
    "stripes_across": lambda obj, u, v: _wave(obj, u),
    "stripes_along": lambda obj, u, v: _wave(obj, v),
    "checks": _checks,
    "rings": lambda obj, u, v: _wave(obj, np.hypot(u, v)),
    "plus": _plus,
    "cross": _cross,
    "dots": _dots,
    "sectors": lambda obj, u, v: np.sin(4 * np.arctan2(v, u) + obj.phase[0]),
}
CLASSES = tuple(PATTERNS)
_FIELDS = tuple(PATTERNS.values())


@dataclass(frozen=True)
class ToyObject:
    """One object: what it looks like and where it is in each of T frames. Only `label` picks the
    pattern; everything else is drawn without looking at it."""

    label: int  # index into CLASSES
    half: tuple  # half width and half height in pixels, before turning
    roundness: float  # exponent p of the body |u|^p + |v|^p <= 1; 2 is an ellipse
    colours: np.ndarray  # (3, 3): ink, ground, outline
    cycles: float  # periods of the pattern from edge to edge
    phase: tuple  # two shifts of the pattern, radians
    x: np.ndarray  # (T,) centre, pixels
    y: np.ndarray  # (T,)
    angle: np.ndarray  # (T,) radians

    @property
    def size(self):
        """Pixels across the longer side: the unit in which damage is measured."""
        return 2 * max(self.half)

    def extents(self):
        """-> (T,), (T,) half width and half height of the upright box around the turned body: the
        support function of |u|^p + |v|^p <= 1, which is the dual norm of the box's normal."""
        q = self.roundness / (self.roundness - 1)
        cos, sin, (a, b) = np.abs(np.cos(self.angle)), np.abs(np.sin(self.angle)), self.half
        return (((a * cos) ** q + (b * sin) ** q) ** (1 / q), ((a * sin) ** q + (b * cos) ** q) ** (1 / q))

    def boxes(self, side):
        """-> int (T, 4) inclusive pixel corners x1 y1 x2 y2, cut at the borders of a side x side image."""
        wide, high = self.extents()
        low = np.ceil(np.stack([self.x - wide, self.y - high], axis=1))
        top = np.floor(np.stack([self.x + wide, self.y + high], axis=1))
        return np.clip(np.concatenate([low, top], axis=1), 0, side - 1).astype(int)


def _hue(hue, saturation, value):
    return np.array([value * (1 - saturation * max(0, min(k, 4 - k, 1)))
                     for k in ((5 + hue * 6) % 6, (3 + hue * 6) % 6, (1 + hue * 6) % 6)])


def draw_colours(rng):
    """-> (3, 3) ink, ground, outline. A bright and a dim hue, either of them the ink, so that neither
    colour nor brightness says anything about the class and every pattern has contrast."""
    hue = rng.uniform()
    bright = _hue(hue, rng.uniform(0.3, 0.9), rng.uniform(215, 255))
    dim = _hue((hue + rng.uniform(0.2, 0.8)) % 1, rng.uniform(0.5, 1.0), rng.uniform(80, 130))
    outline = np.full(3, rng.choice([15.0, 245.0]))
    return np.stack([bright, dim, outline] if rng.uniform() < 0.5 else [dim, bright, outline])


def smooth_path(rng, low, high, frames):
    """-> (frames,) two slow sines that stay within low..high (one value when they are equal)."""
    t = np.arange(frames)
    periods, phases = rng.uniform(24, 70, 2), rng.uniform(0, 2 * np.pi, 2)
    first, second = np.sin(2 * np.pi * t / periods[:, None] + phases[:, None])
    reach = rng.uniform(0.3, 1.0) * max(high - low, 0) / 2
    middle = rng.uniform(low + reach, high - reach) if high - low > 2 * reach else (low + high) / 2
    return middle + reach * (first + 0.5 * second) / 1.5


def draw_object(rng, *, area, size_range=SIZE_RANGE, frames=1):
    """One random ToyObject that moves within area (x1, y1, x2, y2), up to a tenth of it outside."""
    size, aspect = rng.uniform(*size_range), rng.uniform(0.8, 1.0)
    half = (size / 2, size / 2 * aspect) if rng.uniform() < 0.5 else (size / 2 * aspect, size / 2)
    x1, y1, x2, y2 = area
    inner_x, inner_y = 0.85 * half[0], 0.85 * half[1]
    return ToyObject(
        label=int(rng.integers(len(CLASSES))), half=half, roundness=rng.uniform(2.3, 3.5),
        colours=draw_colours(rng), cycles=rng.uniform(2.5, 3.3), phase=tuple(rng.uniform(0, 2 * np.pi, 2)),
        x=smooth_path(rng, x1 + inner_x, x2 - inner_x, frames),
        y=smooth_path(rng, y1 + inner_y, y2 - inner_y, frames),
        angle=smooth_path(rng, -MAX_ANGLE, MAX_ANGLE, frames),
    )


def coordinates(obj, t, margin=2.0):
    """-> (u, v) float32 (S, S) on the body in frame t, and (x0, y0): the patch reaches `margin` pixels
    beyond the body on every side."""
    reach = 1.16 * obj.size / 2 + margin  # 1.16: the most that 20 degrees add to the rounded bodies used
    x0, y0 = int(np.floor(obj.x[t] - reach)), int(np.floor(obj.y[t] - reach))
    side = int(np.ceil(2 * reach)) + 1
    steps = np.arange(side, dtype=np.float32)
    dx, dy = (steps + np.float32(x0 - obj.x[t]))[None, :], (steps + np.float32(y0 - obj.y[t]))[:, None]
    cos, sin = np.float32(np.cos(obj.angle[t])), np.float32(np.sin(obj.angle[t]))
    u, v = (dx * cos + dy * sin) / np.float32(obj.half[0]), (dy * cos - dx * sin) / np.float32(obj.half[1])
    return u, v, (x0, y0)


def inside_pixels(obj, u, v):
    """-> (S, S) about how many pixels a point lies inside the body's edge; negative outside."""
    power = np.float32(obj.roundness)
    radius = (np.abs(u) ** power + np.abs(v) ** power) ** np.float32(1 / obj.roundness)
    return (1 - radius) * np.float32(min(obj.half))


def draw_layer(obj, t, *, margin=2.0, bend=None):
    """-> (layer (S, S, 4), (x0, y0)) of the clean object in frame t. bend(u, v) -> (u, v) deforms the
    pattern and leaves the body alone."""
    u, v, origin = coordinates(obj, t, margin)
    inside = inside_pixels(obj, u, v)
    pu, pv = (u, v) if bend is None else bend(u, v)
    ink = np.clip(_FIELDS[obj.label](obj, pu, pv) * 3 + 0.5, 0, 1)[..., None]
    edge = np.clip(OUTLINE_PIXELS - inside + 0.5, 0, 1)[..., None]
    ink_colour, ground, outline = obj.colours.astype(np.float32)
    layer = np.empty(u.shape + (4,), np.float32)
    coverage = np.clip(inside + 0.5, 0, 1)
    colour = ground + ink * (ink_colour - ground)
    layer[..., :3] = (colour + edge * (outline - colour)) * coverage[..., None]
    layer[..., 3] = coverage
    return layer, origin


def paste(image, layer, origin):
    """Lay a layer over image (H, W, 3) float32, in place; what lies outside is cut off."""
    patch, region = shared_pixels(layer.shape, origin, image.shape)
    image[region] *= 1 - layer[patch][..., 3:]
    image[region] += layer[patch][..., :3]


def shared_pixels(patch, origin, image):
    """What a patch whose corner is at origin (x0, y0) of an image shares with it; patch and image are shapes
    (rows, columns, ...) -> slices (rows, columns) in the patch, and the same in the image."""
    inside, region = [], []
    for start, size, room in zip(reversed(origin), patch, image):
        first = max(0, start)
        last = max(first, min(start + size, room))
        inside.append(slice(first - start, last - start))
        region.append(slice(first, last))
    return tuple(inside), tuple(region)


def noise_texture(rng, side, *, cells, mean, spread):
    """-> float32 (side, side, 3): smooth coloured noise, `cells` blobs a side, values mean +- spread."""
    coarse = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
    return mean + spread * cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


class Background:
    """A coloured noise texture of two grains that drifts under a side x side image at constant speed."""

    def __init__(self, rng, side, frames):
        speed, heading = rng.uniform(0.2, 1.2), rng.uniform(0, 2 * np.pi)
        self.step = speed * np.array([np.cos(heading), np.sin(heading)])
        self.side = side
        self.full = side + int(np.ceil(1.2 * frames)) + 2
        self.start = np.where(self.step < 0, self.full - side - 1, 0)
        mean = rng.uniform(60, 130, 3).astype(np.float32)
        self.texture = noise_texture(rng, self.full, cells=self.full // 14, mean=mean, spread=45)
        self.texture += noise_texture(rng, self.full, cells=self.full // 4, mean=0, spread=25)

    def frame(self, t):
        """-> a fresh float32 (side, side, 3) for frame t."""
        x, y = self.start + self.step * t
        shift = np.array([[1, 0, x], [0, 1, y]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(self.texture, shift, (self.side, self.side), flags=flags)


def overlap(first, second, side):
    """-> the largest share of the smaller box that two objects' boxes share in any frame, 0..1."""
    a, b = first.boxes(side), second.boxes(side)
    common = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) + 1
    common = np.clip(common, 0, None).prod(axis=1)
    areas = [(box[:, 2:] - box[:, :2] + 1).prod(axis=1) for box in (a, b)]
    return float((common / np.minimum(*areas)).max())
