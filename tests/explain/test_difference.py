"""Differences of two models' findings, by hand."""

import torch
from detectron2.structures import Boxes, Instances

from stpn.explain.difference import difference


def found(boxes, classes, **more):
    return Instances((50, 50), pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
                     pred_classes=torch.tensor(classes, dtype=torch.int64), **more)


def test_a_thing_has_one_partner_of_its_class_and_the_largest_overlap():
    first = found([[0, 0, 10, 10], [0, 0, 10, 8], [30, 30, 40, 40]], [1, 1, 2])
    second = found([[0, 0, 10, 10], [30, 30, 40, 40], [30, 30, 40, 41]], [1, 1, 2])
    assert difference(first, second) == ([(0, 0), (2, 2)], [1], [1])
    assert difference(second, first) == ([(0, 0), (2, 2)], [1], [1])


def test_frames_where_one_or_both_find_nothing():
    nothing, one = found([], []), found([[0, 0, 5, 5]], [0])
    assert difference(nothing, one) == ([], [], [0]) and difference(one, nothing) == ([], [0], [])
    assert difference(nothing, nothing) == ([], [], [])


def test_masks_count_where_both_have_them():
    left, right = torch.zeros(2, 1, 50, 50, dtype=torch.bool)
    left[:, :, :10], right[:, :, 40:] = True, True
    box = [[0, 0, 50, 50]]
    assert difference(found(box, [0], pred_masks=left), found(box, [0], pred_masks=right)) == ([], [0], [0])
    assert difference(found(box, [0], pred_masks=left), found(box, [0])).both == [(0, 0)]


def test_given_targets_are_told_apart_by_number():
    lost = torch.zeros(2, dtype=torch.bool)
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10]]
    first = found(boxes, [0, 0], pred_ids=torch.tensor([0, 1]), pred_lost=lost)
    second = found(boxes, [0, 0], pred_ids=torch.tensor([1, 0]), pred_lost=lost)
    assert difference(first, second).both == [(0, 1), (1, 0)]
