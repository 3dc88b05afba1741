"""Names of a model's classes, found through the data sets of its config."""

from __future__ import annotations

from detectron2.data import MetadataCatalog

from ..data.builtin import known_classes, register_all


def class_names(cfg):
    """-> list of cfg.MODEL.ROI_HEADS.NUM_CLASSES names: those of the first data set of DATASETS.TEST and
    TRAIN that has so many classes, else "class 0", "class 1", ..."""
    register_all()
    count = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    for dataset in (*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN):
        names = MetadataCatalog.get(dataset).get("thing_classes") or known_classes(dataset) or []
        if len(names) == count:
            return list(names)
    return [f"class {i}" for i in range(count)]
