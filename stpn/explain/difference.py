"""What one model finds in a frame and another does not, and which of both the labels have."""

from typing import NamedTuple

import numpy as np
import torch
from detectron2.structures import pairwise_iou


class Difference(NamedTuple):
    """Indices: pairs (i, j) that are the same thing in both; those of the first alone; those of the second alone."""

    both: list
    first: list
    second: list


def difference(first, second, *, least_iou=0.5):
    """first, second: Instances of one frame. Two are the same thing if they have one class and overlap by least_iou or
    more: masks where both have pred_masks, else boxes; a thing has one partner, the pair of largest overlap first.
    Tracks of given targets (pred_ids without masks) are compared by number instead of class. -> Difference"""
    overlaps = _overlaps(first, second)
    overlaps[~_alike(first, second)] = 0.0
    both, free = [], overlaps.copy()
    while free.size and free.max() >= least_iou:
        i, j = np.unravel_index(free.argmax(), free.shape)
        both.append((int(i), int(j)))
        free[i], free[:, j] = -1.0, -1.0
    partners = [set(side) for side in zip(*both, strict=True)] or [set(), set()]
    return Difference(sorted(both), *([k for k in range(len(found)) if k not in taken]
                                      for found, taken in zip((first, second), partners, strict=True)))


def _overlaps(first, second):
    """-> np.float64 (n, m) IoU."""
    if first.has("pred_masks") and second.has("pred_masks"):
        a, b = (found.pred_masks.flatten(1).double() for found in (first, second))
        common = a @ b.T
        union = a.sum(1)[:, None] + b.sum(1)[None] - common
        return torch.where(union > 0, common / union.clamp(min=1), 0.0).numpy()
    return pairwise_iou(first.pred_boxes, second.pred_boxes).double().numpy()


def _alike(first, second):
    key = "pred_ids" if first.has("pred_lost") or second.has("pred_lost") else "pred_classes"
    return (first.get(key)[:, None] == second.get(key)[None]).numpy()
