"""The training recipe as detectron2 augmentations, and the randomness a sample draws from."""

import contextlib

import numpy as np
from detectron2.data import transforms as T

from ..errors import InputError


def build_augmentations(cfg, is_train):
    """The recipe of the released configs: flip; then either a resize to a random short side, or (with
    probability CLIP_CROP.PROBABILITY) a smaller resize and a crop before it."""
    if not is_train:
        return [T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, "choice")]
    flips = {"none": [], "horizontal": [T.RandomFlip()],
             "vertical": [T.RandomFlip(horizontal=False, vertical=True)]}
    if cfg.INPUT.RANDOM_FLIP not in flips:
        raise InputError(f"INPUT.RANDOM_FLIP is {cfg.INPUT.RANDOM_FLIP!r}; expected {', '.join(flips)}")
    augmentations = flips[cfg.INPUT.RANDOM_FLIP]
    clip_crop = cfg.INPUT.CLIP_CROP
    if clip_crop.ENABLED:
        crop = T.AugmentationList([T.ResizeShortestEdge(list(clip_crop.MIN_SIZES), sample_style="choice"),
                                   T.RandomCrop("absolute_range", tuple(clip_crop.SIZE_RANGE))])
        augmentations.append(T.RandomApply(crop, clip_crop.PROBABILITY))
    resize = T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN,
                                  cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING)
    return [*augmentations, resize]


def randomness(seed):
    """-> (seed of the augmentations, Generators of the supports, of SELSA's supports, of the key frame): streams of
    their own, so that drawing one does not change the others. Without a seed all come from numpy's global state."""
    augmentation, *others = seed_streams(seed, 4)
    return augmentation.generate_state(4), *map(np.random.default_rng, others)


def seed_streams(seed, count):
    """-> `count` numpy SeedSequences of one sample. seed: an int, ints, or None for numpy's global state."""
    if seed is None:
        seed = np.random.randint(2**31, size=2)
    return np.random.SeedSequence([int(s) for s in np.atleast_1d(seed)]).spawn(count)


@contextlib.contextmanager
def seeded(seed):
    """numpy's global generator, from which detectron2's augmentations draw, seeded for this block only."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
