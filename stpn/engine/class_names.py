"""Names of a model's classes, found through the data sets of its config."""

from __future__ import annotations

from detectron2.data import MetadataCatalog

from ..data.builtin import ENTRIES, plain_file, register_all
from ..data.datasets.image_sets import find_root
from ..data.datasets.imagenet_vid import read_classes
from ..data.datasets.video_json import read_categories


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
    """Names of a data set that has not been loaded; the folder of a built-in one need not be there."""
    entry = ENTRIES.get(dataset)
    if entry is None:
        path = plain_file(dataset)
        return [] if path is None else read_categories(path)
    try:
        return list(read_classes(find_root(entry.folders)).values())
    except FileNotFoundError:
        return list(entry.classes)
