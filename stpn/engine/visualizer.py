"""The same drawings by detectron2's Visualizer: prettier text and smoother edges, at about 25 times the time."""

import numpy as np
from detectron2.utils.visualizer import Visualizer

from .drawing import class_color, draw_detections, labels_of, track_color

_SMALLEST = 16  # pixels; matplotlib cannot lay out text on less


def visualize_detections(image, instances, class_names):
    """Arguments and result as draw_detections."""
    if not len(instances) or min(image.shape[:2]) < _SMALLEST:
        return draw_detections(image, instances, class_names)
    tracked = instances.has("pred_masks")
    what = {"masks": instances.pred_masks.numpy()} if tracked else {"boxes": instances.pred_boxes.tensor.numpy()}
    colors = [track_color(n) for n in instances.pred_ids.tolist()] if tracked else (
        [class_color(c) for c in instances.pred_classes.tolist()])
    canvas = Visualizer(image).overlay_instances(
        **what, labels=labels_of(instances, class_names), assigned_colors=colors)
    return _fitted(canvas.get_image(), image.shape)


def _fitted(drawn, shape):
    """Visualizer's canvas is sometimes a pixel off the picture it was given."""
    drawn = drawn[: shape[0], : shape[1]]
    missing = [(0, want - got) for want, got in zip(shape, drawn.shape, strict=True)]
    return np.pad(drawn, missing, mode="edge") if any(m for _, m in missing) else np.ascontiguousarray(drawn)
