"""Names of a model's classes, found through the data sets of its config."""

from __future__ import annotations

from detectron2.data import MetadataCatalog

from ..config import class_count
from ..data.builtin import known_classes, register_all


def class_names(cfg):
    """-> list of as many names as the model of cfg has classes: those of the first data set of DATASETS.TEST and
    TRAIN that has so many, else "class 0", "class 1", ... A tracker's one class is "target"."""
    if cfg.MODEL.META_ARCHITECTURE == "VideoObjectTracker":
        return ["target"]
    register_all()
    _, count = class_count(cfg)
    for dataset in (*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN):
        names = MetadataCatalog.get(dataset).get("thing_classes") or known_classes(dataset) or []
        if len(names) == count:
            return list(names)
    return [f"class {i}" for i in range(count)]
