"""What a run needs of its data sets together, checked before its first iteration: one class table, and test sets that
evaluation can use."""

import logging

from detectron2.data import DatasetCatalog, MetadataCatalog

from ..config import class_count
from ..crops import check_box
from ..errors import InputError
from .builtin import TRACKING_TYPES, ensure_registered, known_classes
from .image import picture_size
from .missing import refuse_missing_frames
from .video_samples import refuse_other_size

logger = logging.getLogger(__name__)


def check_data_sets(cfg, *, training):
    """Load DATASETS.TEST; InputError for what would end the run only after training, or give figures of other classes.

    All sets must be of the model's task and have one class table, of as many names as the model has classes; every
    frame of the test sets must be there, for detection none may hold a crowd region, and for masks the first frame of
    each video must have the size that the JSON says; so for tracking, where a tracker must be able to start with the
    first box. training: DATASETS.TRAIN has been loaded. Otherwise its classes are read where that is cheap, and count
    if they are as many as the model's: whoever evaluates need not name it.
    """
    refuse_test_augmentation(cfg)
    refuse_other_format(cfg)
    ensure_registered(cfg.DATASETS.TEST)
    refuse_other_task(cfg, cfg.DATASETS.TEST)
    for name in cfg.DATASETS.TEST:
        _check_test_set(name)
    if is_tracker(cfg):  # a target is of any class
        return
    tables = loaded_classes(cfg.DATASETS.TRAIN) if training else _trained_on(cfg)
    advice = "" if training else ", or name in DATASETS.TRAIN the sets that the model was trained on"
    tables |= loaded_classes(cfg.DATASETS.TEST)
    refuse_different_classes(tables, advice=advice)
    for name, classes in tables.items():
        check_count(name, classes, class_count(cfg), training=training)


def refuse_test_augmentation(cfg):
    """InputError for detectron2's evaluation over several sizes and mirrored pictures: no model here has it."""
    if cfg.TEST.AUG.ENABLED:
        raise InputError("TEST.AUG.ENABLED is True, but there is no test-time augmentation here: each frame is seen in "
                         "one size, INPUT.MIN_SIZE_TEST; set it to False")


def refuse_other_format(cfg):
    """InputError where a tracker would see its frames in another order of channels: the tracker itself crops them."""
    if is_tracker(cfg) and cfg.INPUT.FORMAT != "RGB":
        raise InputError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT!r}, but VideoObjectTracker reads frames as RGB; set it to "
                         "RGB, and MODEL.PIXEL_MEAN and PIXEL_STD in that order")


_TASKS = {"VideoInstanceSegmenter": "ytvis", "VideoObjectTracker": "tracking"}
_NEEDED = {  # what a set of each task has
    "ytvis": "masks of whole videos (YouTube-VIS form)",
    "tracking": "tracking sequences (one target, a box in each frame)",
    "imagenet_vid": "boxes of labelled frames",
}


def task_of(cfg):
    """-> kind of data sets that the model of cfg is for: "ytvis", "tracking" or "imagenet_vid"."""
    return _TASKS.get(cfg.MODEL.META_ARCHITECTURE, "imagenet_vid")


def is_tracker(cfg):
    return task_of(cfg) == "tracking"


def refuse_other_task(cfg, names):
    """InputError for a registered data set that is not for the model of cfg: masks of whole videos, tracking sequences
    or boxes of labelled frames (detectron2's own sets of still pictures included)."""
    wanted = task_of(cfg)
    for name in names:
        kind = MetadataCatalog.get(name).get("evaluator_type")
        found = "tracking" if kind in TRACKING_TYPES else "ytvis" if kind == "ytvis" else "imagenet_vid"
        if found != wanted:
            raise InputError(f"{name} has {_NEEDED[found]}, but MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} "
                             f"needs {_NEEDED[wanted]}; name another data set, or a config file for this one")


def refuse_unlabelled(hidden):
    """hidden: names of the training sets whose labels are. InputError for the first."""
    if hidden:
        raise InputError(f"{hidden[0]} has no labels: it can be in DATASETS.TEST, not in DATASETS.TRAIN; take it out")


def loaded_classes(names):
    """-> {name of a loaded data set: its class names in order, None where it states none}."""
    return {name: MetadataCatalog.get(name).get("thing_classes") for name in names}


def refuse_different_classes(tables, *, advice=""):
    """tables: {data set: class names}. InputError if any differs from the first; advice is added to its end."""
    (first, expected), *others = tables.items() or [(None, None)]
    for name, classes in others:
        if classes != expected:
            raise InputError(f"{first} and {name} have different class tables ({_difference(expected, classes)}); all "
                             "sets of a run need the same classes in the same order, which in a JSON file is that of "
                             f"the category ids: correct one of them{advice}")


def _difference(first, second):
    if first is None or second is None:
        return "one of them states no class names"
    only = [f"only the {which} has {_some([c for c in ours if c not in theirs])}"
            for which, ours, theirs in (("first", first, second), ("second", second, first)) if set(ours) - set(theirs)]
    if only or len(first) != len(second):
        return ", ".join(only) or f"{len(first)} and {len(second)} classes"
    i = next(i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b)
    return f"the same names in another order: class {i} is {first[i]!r} in the first, {second[i]!r} in the second"


def check_count(name, classes, count, *, training):
    """InputError where a data set has not as many classes as the model. count: (key, value) of config.class_count."""
    key, expected = count
    if classes is None:
        logger.warning("%s states no class names: whether it has %s %d is not known", name, key, expected)
    elif len(classes) != expected:
        weights = "" if training else " and weights of a model that was trained for them"
        raise InputError(f"{name} has {len(classes)} classes ({_some(classes)}), but {key} is {expected}; "
                         f"give {key} {len(classes)}{weights}")


def _some(names, limit=5):
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def _trained_on(cfg):
    """-> {set of DATASETS.TRAIN: class names} as far as they can be those of the model that is evaluated."""
    tables = {}
    for name in cfg.DATASETS.TRAIN:
        try:
            classes = known_classes(name)
        except (InputError, OSError) as error:
            logger.debug("%s", error)
            classes = None
        if classes is not None and len(classes) == class_count(cfg)[1]:
            tables[name] = list(classes)
        else:
            why = "cannot be read" if classes is None else f"are {len(classes)}, so that the model has others"
            logger.info("whether the model's classes are those of DATASETS.TEST, in this order, is not checked with %s "
                        "of DATASETS.TRAIN: its classes %s", name, why)
    return tables


def _check_test_set(name):
    video_index = MetadataCatalog.get(name).get("video_index")
    if video_index is None:
        raise InputError(f"{name} has no videos: still pictures can be in DATASETS.TRAIN, not in DATASETS.TEST; take "
                         "it out")
    dicts = DatasetCatalog.get(name)  # fills video_index
    refuse_missing_frames(video_index, name)
    if MetadataCatalog.get(name).get("evaluator_type") in ("ytvis", *TRACKING_TYPES):
        for video in dicts:  # the head of one picture each: most wrong sizes are of whole videos
            width, height = picture_size(video["file_name"])
            refuse_other_size(video, 0, video["file_name"], (height, width))
            if "boxes" in video:
                _check_start(video)
        return
    for sample in dicts:
        if any(annotation.get("iscrowd", 0) for annotation in sample["annotations"]):
            raise InputError(f"{name}: {sample['file_name']} (image id {sample['image_id']}) has a crowd region "
                             "(iscrowd 1), which evaluation does not know; remove it or mark it as an ordinary box")


def _check_start(video):
    """InputError where no tracker can start with the box of a sequence's first frame."""
    try:
        check_box(video["boxes"][0], video["height"], video["width"])
    except InputError as error:
        raise InputError(f"first frame of {video['video_id']}: {error}; correct its labels, or take the sequence out "
                         "of the list") from None
