"""What can be said against a training run before its data sets are read and its model is built."""

from ..config import class_count
from ..errors import InputError
from .agreement import check_count, is_tracker, refuse_other_task, refuse_unlabelled
from .build import check_unused, mapper_of
from .builtin import ENTRIES, ensure_registered, known_classes, plain_file
from .datasets.image_sets import find_root
from .datasets.json_search import find_value, open_text
from .datasets.ytvis import is_ytvis_json
from .tracking_sets import TrackingEntry
from .tracking_training import check_tracking, excluded_names
from .vis_sets import VisEntry


def check_early(cfg):
    """InputError for options that this loader does not have, a mapper or data sets of another task, sets whose class
    table or hidden labels do not fit; FileNotFoundError for sets that are not there. Of each file only what takes no
    time is looked at: the loading says the same of what is not found here."""
    names = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
    ensure_registered(names)
    check_unused(cfg)
    mapper_of(cfg)
    refuse_other_task(cfg, names)
    if is_tracker(cfg):
        check_tracking(cfg.INPUT.TRACKING)
        excluded_names(cfg.INPUT.TRACKING.EXCLUDE)
        _refuse_random_parts(cfg)
    files = {name: _json_file(name) for name in names}
    refuse_unlabelled([name for name in cfg.DATASETS.TRAIN if _has_no_labels(name, files[name])])
    for name in names if not is_tracker(cfg) else ():  # a target is of any class
        classes = known_classes(name) if name in ENTRIES or files[name] is not None else None
        if classes is not None:
            check_count(name, classes, class_count(cfg), training=True)


def _refuse_random_parts(cfg):
    """InputError where a part of a tracker that its stage does not train would stay random, and be saved as if it were
    trained."""
    if cfg.MODEL.WEIGHTS or not cfg.MODEL.MIXFORMER.SCORE_HEAD:
        return
    stage = cfg.MODEL.MIXFORMER.STAGE
    todo = ("set MODEL.MIXFORMER.SCORE_HEAD False, or give weights that have one" if stage == "box" else
            "give those of the first stage")
    trained = "all but the score head" if stage == "box" else "the score head alone"
    raise InputError(f"MODEL.WEIGHTS is empty, and MODEL.MIXFORMER.STAGE {stage} trains {trained}: the rest would stay "
                     f"random; {todo}")


def _json_file(name):
    """-> path of a data set's JSON, None for one without. FileNotFoundError where a built-in one is not there."""
    if name not in ENTRIES:
        return plain_file(name)
    entry = ENTRIES[name]
    if isinstance(entry, VisEntry):
        return entry.json_file()
    find_root(entry.folders)
    return None


def _has_no_labels(name, path):
    """Whether the labels of a set are known to be hidden, or a JSON file in YouTube-VIS form has no annotations; it is
    searched, not read. path: of the set's JSON, or None."""
    if isinstance(ENTRIES.get(name), TrackingEntry):
        return not ENTRIES[name].labelled
    if path is None or not is_ytvis_json(path):
        return False
    with open_text(path) as text:
        start = find_value(text, "annotations")
        while text[start:start + 4] == b"null" and start >= 0:  # of another table, perhaps
            start = find_value(text, "annotations", start=start)
        return start < 0
