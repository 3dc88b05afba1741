"""The same drawings by detectron2's Visualizer: prettier text and smoother edges, at about 25 times the time."""

import numpy as np
import torch
from detectron2.utils.visualizer import Visualizer

from .drawing import boxes_near, colors_of, draw_detections, labels_of, lost_of

_SMALLEST = 16  # pixels; matplotlib cannot lay out text on less


def visualize_detections(image, instances, class_names):
    """Arguments and result as draw_detections."""
    if not len(instances) or min(image.shape[:2]) < _SMALLEST:
        return draw_detections(image, instances, class_names)
    canvas, lost = Visualizer(image), torch.tensor(lost_of(instances))
    sure = instances[~lost]
    what = {"masks": sure.pred_masks.numpy()} if sure.has("pred_masks") else {"boxes": boxes_near(image, sure)}
    canvas.overlay_instances(**what, labels=labels_of(sure, class_names), assigned_colors=colors_of(sure))
    gone = instances[lost]
    _draw_lost(canvas, gone, boxes_near(image, gone), class_names)
    return _fitted(canvas.output.get_image(), image.shape)


def _draw_lost(canvas, instances, boxes, class_names):
    """Dim, dashed boxes, which overlay_instances has not."""
    for box, color, label in zip(boxes, colors_of(instances), labels_of(instances, class_names), strict=True):
        canvas.draw_box(box, alpha=0.3, edge_color=color, line_style="--")
        canvas.draw_text(label, tuple(box[:2]), color=color, horizontal_alignment="left")


def _fitted(drawn, shape):
    """Visualizer's canvas is sometimes a pixel off the picture it was given."""
    drawn = drawn[: shape[0], : shape[1]]
    missing = [(0, want - got) for want, got in zip(shape, drawn.shape, strict=True)]
    return np.pad(drawn, missing, mode="edge") if any(m for _, m in missing) else np.ascontiguousarray(drawn)
