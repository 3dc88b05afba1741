"""A video of a data set as a source, with its labels as Instances."""

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances

from ..data.agreement import check_count, is_tracker, loaded_classes, refuse_different_classes, refuse_other_task
from ..data.builtin import ensure_registered
from ..data.datasets.mask_rle import decode
from ..data.source import open_source
from ..data.source_images import ImageSource
from ..errors import InputError


def labelled_video(name, video_id):
    """name: of a data set; video_id: a video's, as the set has it, or what it ends with.

    -> (VideoSource, {t: Instances of the labels, score 1, of each labelled frame}, boxes x, y, w, h of a tracking
    sequence's target in frame 0, else None). InputError for a video that is not there, or more than one."""
    ensure_registered([name])
    dicts, metadata = DatasetCatalog.get(name), MetadataCatalog.get(name)
    index = metadata.video_index
    found = [known for known in index if known == video_id or known.endswith(f"/{video_id}")]
    if len(found) != 1:
        examples = ", ".join(list(index)[:3])
        raise InputError(f"{name} has {len(found)} videos {video_id!r}; its videos are such as {examples}")
    records = [record for record in dicts if record["video_id"] == found[0]]
    file = index.file(found[0])
    source = open_source(file) if file else ImageSource(index.paths(found[0]), 0, folder=found[0], kind="folder",
                                                        fps=None, on_error="stop")
    kind = metadata.evaluator_type
    if kind in ("got10k", "ope"):
        return source, _target(records[0]), [records[0]["boxes"][0].tolist()]
    return source, (_masks(records[0]) if kind == "ytvis" else _boxes(records)), None


def check_labels(name, cfg, names, count):
    """InputError where the labels of a loaded data set cannot be compared with what the model of cfg finds: those of
    another task or, but for trackers, other classes. names: the model's; count: (key, value) of config.class_count."""
    refuse_other_task(cfg, [name])
    (classes,) = loaded_classes([name]).values()
    if is_tracker(cfg):
        return
    check_count(name, classes, count, training=False)
    if classes is not None and names != [f"class {i}" for i in range(len(names))]:  # numbers: no data set tells them
        refuse_different_classes({"the model": names, name: list(classes)}, advice=", or choose a set with the model's")


def _boxes(records):
    """Labelled frames of one video, one dict each."""
    truth = {}
    for record in records:
        boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in record["annotations"]]
        truth[record["frame_index"]] = _instances((record["height"], record["width"]), boxes,
                                                  [a["category_id"] for a in record["annotations"]])
    return truth


def _masks(record):
    size, truth = (record["height"], record["width"]), {}
    for t, annotations in enumerate(record["annotations"]):
        masks = [decode(annotation["segmentation"], size).astype(bool) for annotation in annotations]
        masks = torch.from_numpy(np.stack(masks)) if masks else torch.zeros((0, *size), dtype=torch.bool)
        ids = torch.tensor([annotation["id"] for annotation in annotations], dtype=torch.int64)
        truth[t] = _instances(size, BitMasks(masks).get_bounding_boxes().tensor,
                              [annotation["category_id"] for annotation in annotations], pred_masks=masks, pred_ids=ids)
    return truth


def _target(record):
    truth = {}
    for t, (x, y, w, h) in enumerate(record["boxes"]):
        if not record["absent"][t] and w > 0 and h > 0:
            number, lost = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool)
            truth[t] = _instances((record["height"], record["width"]), [[x, y, x + w, y + h]], [0], pred_ids=number,
                                  pred_lost=lost)
    return truth


def _instances(size, boxes, classes, **more):
    boxes = torch.as_tensor(np.array(boxes, dtype=np.float32)).reshape(-1, 4)
    return Instances(size, pred_boxes=Boxes(boxes), scores=torch.ones(len(boxes)),
                     pred_classes=torch.tensor(classes, dtype=torch.int64), **more)
