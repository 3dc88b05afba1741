"""Deterioration for the toy video set: what hides the class of an object and leaves its place visible.

It comes in bursts of 4 to 9 frames with clean gaps of 3 to 9. A burst has one kind, one severity and
its own random numbers; severities are in units of the object's size, so large and small objects lose
alike. The ranges were fixed by looking at pictures and at a classifier of single crops, before any
video model was trained on them.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .toy_scene import coordinates, draw_layer, inside_pixels, noise_texture

CLEAN = "clean"
BURST_FRAMES = (4, 9)
GAP_FRAMES = (3, 9)
# Kind -> range of severity.
SEVERITY = {
    "motion": (0.6, 0.9),  # length of the smear / object size
    "defocus": (0.16, 0.22),  # sigma of the blur / object size
    "low_resolution": (7.0, 10.0),  # pixels across the object before enlarging
    "occlusion": (0.70, 0.86),  # share of the body that is covered
    "dark": (0.10, 0.16),  # share of the light that is left
    "deformation": (0.45, 0.65),  # shift of the pattern / half the object size
}
KINDS = tuple(SEVERITY)


@dataclass(frozen=True)
class Burst:
    """Consecutive frames first..last (inclusive) damaged in one way."""

    kind: str
    first: int
    last: int
    severity: float
    direction: float  # radians; of motion, of the occluder's offset
    seed: int  # of what stays the same all through the burst

    def __len__(self):
        return self.last - self.first + 1


def plan_bursts(rng, frames):
    """-> list of Burst within frames 0..frames-1. The last one is cut at the end of the video, and left
    out when fewer than 4 frames would remain."""
    bursts, t = [], int(rng.integers(0, GAP_FRAMES[1] - 1))
    while frames - t >= BURST_FRAMES[0]:
        last = min(t + int(rng.integers(BURST_FRAMES[0], BURST_FRAMES[1] + 1)), frames) - 1
        kind = KINDS[int(rng.integers(len(KINDS)))]
        bursts.append(Burst(kind, t, last, rng.uniform(*SEVERITY[kind]), rng.uniform(0, 2 * np.pi),
                            int(rng.integers(2**31))))
        t = last + 1 + int(rng.integers(GAP_FRAMES[0], GAP_FRAMES[1] + 1))
    return bursts


def _smear_kernel(length, direction):
    """-> (k, k) kernel of a path of `length` pixels whose heading swings by 60 degrees, as a hand-held
    camera's does: a straight smear would leave the stripes along it untouched."""
    steps = np.linspace(-0.5, 0.5, 4 * int(np.ceil(length)))
    heading = direction + np.deg2rad(60) * steps
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)]), axis=1) * length / len(steps)
    path -= path.mean(axis=1, keepdims=True)
    half = int(np.ceil(np.abs(path).max())) + 1
    bins = np.arange(-half, half + 2) - 0.5
    kernel, _, _ = np.histogram2d(path[1], path[0], bins=[bins, bins])
    return (kernel / kernel.sum()).astype(np.float32)


def _motion(obj, t, burst, rng):
    length = burst.severity * obj.size
    layer, origin = draw_layer(obj, t, margin=length / 2 + 2)
    kernel = _smear_kernel(length, burst.direction)
    return cv2.filter2D(layer, -1, kernel, borderType=cv2.BORDER_CONSTANT), origin


def _defocus(obj, t, burst, rng):
    sigma = burst.severity * obj.size
    layer, origin = draw_layer(obj, t, margin=2 * sigma)
    return cv2.GaussianBlur(layer, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT), origin


def _low_resolution(obj, t, burst, rng):
    layer, origin = draw_layer(obj, t)
    side = layer.shape[0]
    few = max(2, round(side * burst.severity / obj.size))
    small = cv2.resize(layer, (few, few), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_NEAREST), origin


def _occlusion(obj, t, burst, rng):
    """A textured patch of the body's own shape, a little off its centre, that moves along with it."""
    layer, origin = draw_layer(obj, t)
    u, v, _ = coordinates(obj, t)
    scale = np.float32(np.sqrt(burst.severity))
    off = (1 - scale) * np.array([np.cos(burst.direction), np.sin(burst.direction)], np.float32)
    inside = inside_pixels(obj, (u - off[0]) / scale, (v - off[1]) / scale)
    cover = np.clip(inside + 0.5, 0, 1)[..., None]
    own = np.random.default_rng(burst.seed)
    mean = own.uniform(70, 150, 3).astype(np.float32)
    texture = noise_texture(own, layer.shape[0], cells=6, mean=mean, spread=60)
    layer[..., :3] += cover * (np.clip(texture, 0, 255) * layer[..., 3:] - layer[..., :3])
    return layer, origin


def _deformation(obj, t, burst, rng):
    def bend(u, v):
        coarse = rng.uniform(-1, 1, (6, 6, 2)).astype(np.float32) * np.float32(burst.severity)
        shift = cv2.resize(coarse, u.shape[::-1], interpolation=cv2.INTER_CUBIC)
        return u + shift[..., 0], v + shift[..., 1]

    return draw_layer(obj, t, bend=bend)


_LAYERS = {"motion": _motion, "defocus": _defocus, "low_resolution": _low_resolution,
           "occlusion": _occlusion, "deformation": _deformation}


def damaged_layer(obj, t, burst, rng):
    """draw_layer for frame t, damaged as the burst says (burst None or dark: clean). rng gives what is
    new in every frame."""
    damage = _LAYERS.get(burst.kind) if burst else None
    return damage(obj, t, burst, rng) if damage else draw_layer(obj, t)


def darken(image, burst, rng):
    """Take the light of a dark burst away from image (H, W, 3), in place, and add the blotches and the
    grain that a sensor's gain brings up; the black level is lifted so that noise is not cut at zero."""
    height, width = image.shape[:2]
    blotches = rng.standard_normal((height // 4, width // 4, 3), np.float32)
    image *= np.float32(burst.severity)
    image += 24 + 9 * cv2.resize(blotches, (width, height), interpolation=cv2.INTER_CUBIC)
    image += 12 * rng.standard_normal(image.shape, np.float32)
