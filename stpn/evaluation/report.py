"""The evaluator's figures as text and as a file."""

import json
import logging
import math

import numpy as np
from detectron2.utils.logger import create_small_table
from tabulate import tabulate

from ..errors import atomic_path

logger = logging.getLogger(__name__)


def log_figures(results, *, dataset, classes, convention, videos, frames, detections):
    """results: {"bbox": {...}, "vid_<convention>": {...}} in percent, as ImageNetVIDEvaluator.evaluate returns them."""
    logger.info(f"{dataset}: {videos} videos, {frames} labelled frames, {detections} detections")
    _log_ap("COCO box AP", results["bbox"], classes)
    logger.info(
        f"ImageNet-VID-style AP50 by motion, {convention.upper()} convention, not COCO's AP50:\n"
        + create_small_table(results[f"vid_{convention}"])
    )


def log_tube_figures(results, *, dataset, classes, videos, frames, predictions):
    """results: {"segm": {...}} in percent, as YouTubeVISEvaluator.evaluate returns them."""
    logger.info(f"{dataset}: {videos} videos, {frames} frames, {predictions} predictions")
    _log_ap("YouTube-VIS mask AP", results["segm"], classes)


def _log_ap(title, figures, classes):
    per_class = {f"AP-{name}": name for name in classes}
    main = {key: value for key, value in figures.items() if key not in per_class}
    logger.info(f"{title} (percent):\n" + create_small_table(main))
    rows = [(name, f"{figures[key]:.3f}") for key, name in per_class.items()]
    logger.info(f"{title} per class:\n" + tabulate(rows, headers=["class", "AP"], tablefmt="pipe"))


def warn_of_oddities(path, detections, frames):
    """Warn of what results can be without being wrong, but seldom are: frames left out, boxes outside the pictures."""
    empty = len(frames) - len(np.unique(detections.frame))
    if empty:
        logger.warning(f"{path}: {empty} of {len(frames)} labelled frames have no detection; check that the file is "
                       "whole and of this data set: records without video_id do not tell")
    ends = detections.box[:, 2:] > (frames.size + 1)[detections.frame]  # a pixel for inclusive corners and rounding
    outside = int(ends.any(axis=1).sum())
    if 2 * outside > len(detections):
        logger.warning(f"{path}: {outside} of {len(detections)} boxes end outside their pictures; expected "
                       "[x, y, w, h] in pixels of the original picture: are they [x1, y1, x2, y2], or of another size?")


def write_metrics(path, results, about):
    """about: what the figures are of, written before them. JSON has no NaN: an undefined figure is null."""
    plain = {
        task: {name: None if math.isnan(value) else value for name, value in figures.items()}
        for task, figures in results.items()
    }
    with atomic_path(path) as part:
        part.write_text(json.dumps({**about, "results_percent": plain}, indent=1) + "\n", encoding="utf-8")
