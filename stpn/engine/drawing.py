"""Detections on a frame, drawn by detectron2's Visualizer."""

from __future__ import annotations

import numpy as np
from detectron2.utils.colormap import colormap
from detectron2.utils.visualizer import Visualizer

_SMALLEST = 16  # pixels; matplotlib cannot lay out text on less
_COLORS = colormap(rgb=True, maximum=1)


def class_color(index):
    """RGB in 0..1; a class has the same colour in every frame and every run."""
    return tuple(_COLORS[index % len(_COLORS)])


def draw_detections(image, instances, class_names):
    """image: np.uint8 (H, W, 3) RGB. instances: pred_boxes in its pixels, scores, pred_classes.
    -> a new picture of the same size and kind."""
    if len(instances) == 0 or min(image.shape[:2]) < _SMALLEST:
        return image.copy()
    classes = instances.pred_classes.tolist()
    scores = instances.scores.tolist()
    canvas = Visualizer(image).overlay_instances(
        boxes=instances.pred_boxes.tensor.numpy(),
        labels=[f"{class_names[c]} {score:.0%}" for c, score in zip(classes, scores, strict=True)],
        assigned_colors=[class_color(c) for c in classes])
    return _cropped(canvas.get_image(), image.shape)


def draw_note(image, text):
    """image with a line of text at the top, for frames that have no picture."""
    if min(image.shape[:2]) < _SMALLEST:
        return image.copy()
    visualizer = Visualizer(image)
    visualizer.draw_text(text, (2, 2), horizontal_alignment="left")
    return _cropped(visualizer.output.get_image(), image.shape)


def _cropped(drawn, shape):
    """Visualizer's canvas is sometimes a pixel off the picture it was given."""
    drawn = drawn[: shape[0], : shape[1]]
    missing = [(0, want - got) for want, got in zip(shape, drawn.shape, strict=True)]
    return np.pad(drawn, missing, mode="edge") if any(m for _, m in missing) else np.ascontiguousarray(drawn)
