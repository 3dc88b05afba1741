"""Names of a model's classes, found through the data sets of its config."""

from __future__ import annotations

from detectron2.data import MetadataCatalog

from ..data.builtin import ENTRIES, register_all
from ..data.datasets.image_sets import find_root
from ..data.datasets.imagenet_vid import CLASSES as IMAGENET_CLASSES
from ..data.datasets.imagenet_vid import read_classes
from ..data.toy_scene import CLASSES as TOY_CLASSES


def class_names(cfg):
    """-> list of cfg.MODEL.ROI_HEADS.NUM_CLASSES names: those of the first data set of DATASETS.TEST and
    TRAIN that has so many classes, else "class 0", "class 1", ..."""
    register_all()
    count = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    for dataset in (*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN):
        names = MetadataCatalog.get(dataset).get("thing_classes") or _names_of(dataset)
        if len(names) == count:
            return list(names)
    return [f"class {i}" for i in range(count)]


def _names_of(dataset):
    """Names of a built-in data set that has not been loaded; its folder need not be there."""
    entry = ENTRIES.get(dataset)
    if entry is None:
        return []
    try:
        return list(read_classes(find_root(entry.folders)).values())
    except FileNotFoundError:
        return list(TOY_CLASSES) if dataset.startswith("toy_") else list(IMAGENET_CLASSES.values())
