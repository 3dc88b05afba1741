"""Losses of a tracker's box."""

import math

import torch


def ciou_loss(boxes, targets):
    """Complete IoU loss (arXiv 1911.08287) of boxes (B, 4) x1 y1 x2 y2, as MixFormer has it. -> (mean, (B,) IoU).

    The weight of the aspect ratio is off where IoU <= 0.5 and has no gradient; the measure is cut to -1..1. Both
    boxes without area give no number.
    """
    iou, union_side = _iou(boxes, targets)
    centres = ((boxes[:, :2] + boxes[:, 2:]) - (targets[:, :2] + targets[:, 2:])) / 2
    distance = centres.pow(2).sum(1) / union_side.pow(2).sum(1)
    angles = [torch.atan((b[:, 2] - b[:, 0]) / (b[:, 3] - b[:, 1])) for b in (boxes, targets)]
    v = 4 / math.pi ** 2 * (angles[1] - angles[0]) ** 2
    with torch.no_grad():
        alpha = torch.where((iou > 0.5) & (v > 0), v / (1 - iou + v), 0.0)
    measure = (iou - distance - alpha * v).clamp(-1, 1)
    return (1 - measure).mean(), iou


def _iou(a, b):
    """-> (B,) IoU, (B, 2) width and height of the smallest box around both."""
    common = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - common
    around = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    return common / union, around
