"""Toy sequences for single-object tracking: a target and one or two distractors over a drifting background.

All of them are the objects of toy_scene.py; a distractor has another pattern than the target and colours of its own.
Bursts of damage (toy_damage.py) hit all objects of a frame alike, each with its own random numbers, so that "the
damaged one" says nothing. In about two sequences of three the target is absent for some frames: it leaves the frame
and comes back, or an opaque patch passes over it.

Letters: T frames of a sequence; boxes are x, y, w, h in pixels, the corner of the first pixel at 0, 0.
"""

from dataclasses import dataclass, replace

import numpy as np

from .toy import finish, generator
from .toy_damage import CLEAN, damaged_layer, darken, plan_bursts
from .toy_masks import body_mask, visible_masks
from .toy_scene import Background, ToyObject, coordinates, draw_object, inside_pixels, noise_texture, paste

SIDE = 160  # pixels a side of a frame
LENGTHS = (32, 48)  # frames
SIZES = (26.0, 44.0)  # of the objects: about 32 pixels in a search region of 128 that is 4 times as wide
ABSENCES = ("none", "out", "behind")
ABSENT_FRAMES = {"out": (4, 9), "behind": (4, 6)}
CLEAN_START = 4  # frames; the first shows the target whole and clean, as the box that a user draws
_STREAM = 1  # tells these sequences from the videos of toy.py with the same seed, split and number


@dataclass(frozen=True)
class Scene:
    """objects: from the lowest to the topmost, all with T positions; target: its place among them; absence: one of
    ABSENCES. A patch that hides the target is the last object and has a texture (S, S, 3) instead of a pattern."""

    objects: list
    target: int
    absence: str
    texture: np.ndarray | None = None

    def shares(self):
        """-> (T,) share of the target's body that is seen, 0..1."""
        obj, above = self.objects[self.target], self.objects[self.target:]  # what lies below hides nothing
        whole = [(inside_pixels(obj, *coordinates(obj, t)[:2]) >= 0).sum() for t in range(len(obj.x))]
        seen = [visible_masks(above, t, SIDE)[0].sum() for t in range(len(obj.x))]
        return np.array(seen) / np.array(whole)


@dataclass(frozen=True)
class ToySequence:
    """frames: T arrays uint8 (SIDE, SIDE, 3) RGB. boxes: (T, 4) float64, the target's body as far as it lies in the
    frame, whatever covers it; 0, 0, 0, 0 where it is absent. cover: (T,) int64, the share of the body that is seen in
    eighths, rounded; 0 is absent. cut: (T,) bool, some of the body lies outside the frame. states: T times "clean", a
    kind of toy_damage.KINDS, or None where the target is absent. scene: what was drawn."""

    frames: list
    boxes: np.ndarray
    cover: np.ndarray
    cut: np.ndarray
    states: list
    scene: Scene


def render_sequence(seed, split, number):
    """-> ToySequence, a pure function of the arguments; about 6 ms a frame. InputError on a bad argument."""
    rng = generator(seed, split, number, _STREAM)
    frames = int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))
    scene, cover = _draw_scene(rng, frames)
    bursts = [replace(burst, first=burst.first + CLEAN_START, last=burst.last + CLEAN_START)
              for burst in plan_bursts(rng, frames - CLEAN_START)]
    at = {t: burst for burst in bursts for t in range(burst.first, burst.last + 1)}
    background, sensor = Background(rng, SIDE, frames), rng.uniform(3, 7)
    pictures = [_render_frame(rng, t, scene, background=background, burst=at.get(t), sensor=sensor)
                for t in range(frames)]
    boxes, cut = target_boxes(scene.objects[scene.target])
    boxes[cover == 0] = 0
    states = [None if cover[t] == 0 else at[t].kind if t in at else CLEAN for t in range(frames)]
    return ToySequence(pictures, boxes, cover, cut, states, scene)


def target_boxes(obj):
    """-> (T, 4) x, y, w, h of a ToyObject's body as far as it lies in the frame, and (T,) bool: was any of it cut off?
    0, 0, 0, 0 where nothing is left."""
    wide, high = obj.extents()
    low, top = (np.stack([obj.x + sign * wide, obj.y + sign * high], axis=1) + 0.5 for sign in (-1, 1))  # pixel 0: 0..1
    boxes, cut = np.concatenate([low, top - low], axis=1), (low < 0).any(axis=1) | (top > SIDE).any(axis=1)
    for t in np.flatnonzero(cut):
        boxes[t] = _box_around(body_mask(obj, t, SIDE))
    return boxes, cut


def _box_around(mask):
    """Round bodies that are cut are narrower than the cut box of the whole."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0, 0, 0, 0
    return columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1


def _draw_scene(rng, frames):
    """-> Scene, cover (T,). Drawn again until the first frames show the target whole and it is absent where that was
    planned, for a few frames, and nowhere else; most scenes are so at once."""
    absence = ABSENCES[int(rng.integers(len(ABSENCES)))]
    while True:
        scene = _propose(rng, frames, absence)
        cover = np.rint(8 * scene.shares()).astype(int)
        hidden = int((cover == 0).sum())
        planned = hidden == 0 if absence == "none" else 3 <= hidden <= 12
        if planned and (cover[:CLEAN_START] == 8).all() and cover[-1] and not target_boxes(
                scene.objects[scene.target])[1][0]:
            return scene, cover


def _propose(rng, frames, absence):
    area = (0, 0, SIDE, SIDE)
    target = draw_object(rng, area=area, size_range=SIZES, frames=frames)
    others = [draw_object(rng, area=area, size_range=SIZES, frames=frames) for _ in range(int(rng.integers(1, 3)))]
    shifts = rng.integers(1, 8, len(others))
    others = [replace(obj, label=int(target.label + shift) % 8) for obj, shift in zip(others, shifts, strict=True)]
    place, texture = int(rng.integers(len(others) + 1)), None
    if absence == "out":
        target = _leaving(rng, target)
    objects = [*others[:place], target, *others[place:]]
    if absence == "behind":
        patch, texture = _passing_patch(rng, target)
        objects.append(patch)
    return Scene(objects, place, absence, texture)


def _window(rng, frames, kind):
    """-> first and last frame of an absence, late enough for a memory of the target and early enough to come back."""
    count = int(rng.integers(ABSENT_FRAMES[kind][0], ABSENT_FRAMES[kind][1] + 1))
    first = int(rng.integers(10, frames - 6 - count))
    return first, first + count - 1


def _leaving(rng, obj):
    """obj whose path makes a detour over the nearest border and back."""
    frames, (first, last) = len(obj.x), _window(rng, len(obj.x), "out")
    t, middle, inside = np.arange(frames), (first + last) // 2, slice(first, last + 1)
    axis = "x" if abs(obj.x[middle] - SIDE / 2) > abs(obj.y[middle] - SIDE / 2) else "y"
    path, reach = getattr(obj, axis), obj.extents()[0 if axis == "x" else 1]
    sign = 1 if path[middle] > SIDE / 2 else -1
    room = SIDE - path if sign > 0 else path
    distance = (room + reach)[inside].max() + 1
    ramp = np.clip(1 - np.maximum(first - t, t - last) / np.ceil(distance / 10), 0, 1)  # 15 pixels a frame at most
    return replace(obj, **{axis: path + sign * distance * ramp * ramp * (3 - 2 * ramp)})


def _passing_patch(rng, obj):
    """-> (a ToyObject that passes over obj at constant speed relative to it and hides it, its texture)."""
    first, last = _window(rng, len(obj.x), "behind")
    speed, heading = rng.uniform(3.5, 5.5), rng.uniform(0, 2 * np.pi)
    offset = speed * (np.arange(len(obj.x)) - (first + last) / 2)
    # Its corners are a little round, hence the tenth.
    half = 1.1 * (max(map(np.max, obj.extents())) + speed * (last - first) / 2) + 1
    patch = replace(obj, half=(half, half), roundness=8.0, angle=np.zeros(len(obj.x)),
                    x=obj.x + offset * np.cos(heading), y=obj.y + offset * np.sin(heading))
    side, mean = len(coordinates(patch, 0)[0]), rng.uniform(60, 170, 3).astype(np.float32)
    return patch, np.clip(noise_texture(rng, side, cells=6, mean=mean, spread=40), 0, 255)


def _render_frame(rng, t, scene, *, background, burst, sensor):
    image = background.frame(t)
    for place, obj in enumerate(scene.objects):
        if scene.texture is not None and place == len(scene.objects) - 1:
            paste(image, *_patch_layer(obj, t, scene.texture))
        else:
            paste(image, *damaged_layer(obj, t, _own(burst, place), rng))
    if burst and burst.kind == "dark":
        darken(image, burst, rng)
    return finish(image, rng, sensor)


def _own(burst, place):
    """The burst with other random numbers for each object."""
    return burst and replace(burst, seed=burst.seed + place, direction=burst.direction + 2.4 * place)


def _patch_layer(obj: ToyObject, t, texture):
    u, v, origin = coordinates(obj, t)
    coverage = np.clip(inside_pixels(obj, u, v) + 0.5, 0, 1)[..., None]
    return np.concatenate([texture * coverage, coverage], axis=2), origin
