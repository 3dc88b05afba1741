"""The dataset dicts that a run trains on: loaded, checked against each other, without what nothing is learnt from."""

import logging

from detectron2.data import MetadataCatalog, get_detection_dataset_dicts

from ..errors import InputError
from .agreement import is_tracker, loaded_classes, refuse_different_classes, refuse_other_task, refuse_unlabelled
from .builtin import ensure_registered, merged_index
from .missing import without_missing
from .objects import has_object, without_empty
from .tracking_training import without_excluded, without_short

logger = logging.getLogger(__name__)


def training_dicts(cfg):
    """-> the dicts of DATASETS.TRAIN, never an empty list. InputError for sets that do not fit each other or the model,
    for hidden labels, for missing pictures unless DATALOADER.ALLOW_MISSING, and where nothing is left."""
    names = list(cfg.DATASETS.TRAIN)
    check_known(names)
    refuse_other_task(cfg, names)
    dicts = get_detection_dataset_dicts(names, filter_empty=False, check_consistency=False)
    refuse_different_classes(loaded_classes(names))
    refuse_unlabelled([name for name in names if not MetadataCatalog.get(name).get("has_labels", True)])
    if is_tracker(cfg):
        return _sequences(cfg, dicts, names)
    dicts = _without_missing(cfg, dicts, names)
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        dicts = without_empty(dicts, keep_unlabelled=cfg.DATALOADER.KEEP_UNLABELLED_VIDEOS)
    if not dicts:
        raise InputError(f"no frame with an object in DATASETS.TRAIN ({', '.join(names)})")
    if not any(map(has_object, dicts)):
        logger.warning("no object in any frame of DATASETS.TRAIN (%s): there is nothing to learn", ", ".join(names))
    return dicts


def check_known(names):
    """InputError for no data set at all, or one that is not known."""
    if not names:
        raise InputError("no data set is named; set DATASETS.TRAIN and DATASETS.TEST")
    ensure_registered(names)


def _sequences(cfg, dicts, names):
    """Those of single-object tracking that can be trained on."""
    tracking = cfg.INPUT.TRACKING
    dicts = without_excluded(dicts, tracking.EXCLUDE, names=names)
    dicts = without_short(_without_missing(cfg, dicts, names), tracking.MIN_LENGTH)
    if not dicts:
        raise InputError(f"no sequence to train on in DATASETS.TRAIN ({', '.join(names)}): each is named in "
                         "INPUT.TRACKING.EXCLUDE, shorter than INPUT.TRACKING.MIN_LENGTH, or shows its target in fewer "
                         "than 7 frames; lower MIN_LENGTH or add sequences")
    return dicts


def _without_missing(cfg, dicts, names):
    return without_missing(dicts, merged_index(names), allow_missing=cfg.DATALOADER.ALLOW_MISSING, names=names)
