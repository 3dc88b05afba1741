"""What a detector's box head makes of given objects of a video: the features that its class scores are read from."""

import logging

import numpy as np
import torch
from detectron2.structures import Boxes, pairwise_iou

from ..errors import InputError
from ..heads import join_support
from ..prompting import support_stream

logger = logging.getLogger(__name__)

_LEAST_IOU = 0.5


def set_features(model, objects, wanted, *, prepare, detected=False):
    """objects: LabelledObjects; wanted: as from choose_objects; prepare: Frame -> the model's dict; model, detected: as
    in object_features.

    -> (rows of the objects that were found, (m,) int; their features (m, D) float32). InputError for a model that
    has none."""
    check_box_head(model)
    rows, features = [np.zeros(0, np.int64)], []
    for count, (video, inside) in enumerate(wanted.items(), 1):
        frames = objects.metadata.video_index.reader(video, prepare=prepare)
        boxes = {t: objects.truth.box[some] for t, some in inside.items()}
        for t, found, here in object_features(model, frames, boxes, detected=detected):
            rows.append(np.array(inside[t])[here.numpy()])
            features.append(found[here].numpy())
        if count % 20 == 0:
            logger.info("%d of %d videos", count, len(wanted))
    return np.concatenate(rows), np.concatenate(features) if features else np.zeros((0, 1), np.float32)


def of_both(found):
    """found: of each model (rows, features), in any order. -> (rows of both, each model's features of them)."""
    rows = np.intersect1d(found[0][0], found[1][0])
    places = [np.argsort(own) for own, _ in found]
    return rows, [features[order[np.searchsorted(own[order], rows)]]
                  for (own, features), order in zip(found, places, strict=True)]


@torch.no_grad()
def object_features(model, frames, boxes, *, detected=False):
    """Features of the objects of one video, each frame with the prompts that the model gives it in a test (a baseline
    has none; SELSA's proposals aggregate those of their support frames). Memory does not grow with the video's length.

    model: VideoObjectDetector or SelsaDetector in eval mode. frames: as in model.stream. boxes: {t: (n, 4) XYXY in
    pixels of the original frame t}. detected: instead of each box, the model's own detection there.

    Yield (t, features (n, D) float on the CPU, found (n,) bool) for each t of boxes in order: D as wide as the last
    layer of the box head. Where the model has no detection of IoU 0.5 with the box, whatever its class, found is False
    and the features are NaN; without `detected` all are found."""
    last = max(boxes)
    for t, (item, prompts), support in _supported(model, frames):
        if t in boxes:
            given = torch.as_tensor(boxes[t], dtype=torch.float32).reshape(-1, 4)
            found = torch.arange(len(given))
            if detected:
                given, found = _own_boxes(model, item, prompts, support, given)
            maps = model.neck(model.backbone(model.images([item["image"]]).tensor, prompts=prompts))
            features = box_features(model, item, maps, given, support=support).cpu()
            everyone = features.new_full((len(boxes[t]), features.shape[1]), torch.nan)
            everyone[found] = features
            yield t, everyone, everyone.isfinite().all(1)
        if t >= last:
            return


def check_box_head(model):
    """InputError unless the model is a detector that classifies boxes by one box head."""
    head = getattr(getattr(model, "roi_heads", None), "box_head", None)
    if not hasattr(model, "detect") or head is None or isinstance(head, torch.nn.ModuleList):
        raise InputError(f"{type(model).__name__} has not got one box head whose features or scores could be shown; "
                         "expected a detector (VideoObjectDetector, SelsaDetector) with StandardROIHeads")


def _supported(model, frames):
    """Yield (t, (item, prompts), support of SELSA's proposals or None), as the model's own stream walks."""
    prompted = model.prompted(frames)
    if not hasattr(model, "selsa_sampler"):
        yield from ((t, pair, None) for t, pair in enumerate(prompted))
        return
    *_, sampler = model.support_samplers()
    yield from support_stream(prompted, sampler, model._embed_proposals, join_support)


def box_features(model, item, maps, boxes, *, support=None):
    """What the box head makes of given boxes of a frame.

    maps: what the neck makes of the frame, {"p2": (1, C, h, w), ...}. boxes: (n, 4) XYXY in pixels of the original
    frame. support: of SELSA's proposals in the support frames; the frame's own are added, as in a test.
    -> (n, D). Gradients reach maps through the features of boxes and of the frame's own proposals, not through where
    those lie."""
    image, heads = item["image"], model.roi_heads
    scale = boxes.new_tensor([image.shape[2] / item["width"], image.shape[1] / item["height"]] * 2)
    pooled = heads.box_pooler([maps[name] for name in heads.box_in_features], [Boxes(boxes * scale).to(model.device)])
    if support is None:
        return heads.box_head(pooled).flatten(1)
    with torch.no_grad():
        proposals, _ = model.proposal_generator(model.images([image]), maps)
    support = join_support([support, *heads.embed(maps, proposals)])
    return heads.box_head(pooled, support).flatten(1)


def _own_boxes(model, item, prompts, support, boxes):
    """The detection of each box -> ((m, 4) in pixels of the original frame, (m,) indices of the boxes). A detection
    belongs to the box that it overlaps most; of those of one box the one that overlaps it most counts."""
    more = {} if support is None else {"support": support}
    found = model.detect(item, prompts, **more).pred_boxes
    overlaps = pairwise_iou(found, Boxes(boxes))  # (detections, n)
    if not overlaps.numel():
        return found.tensor[:0], torch.zeros(0, dtype=torch.int64)
    overlaps = torch.where(overlaps == overlaps.max(1, keepdim=True).values, overlaps, 0.0)
    best, which = overlaps.max(0)
    indices = torch.nonzero(best >= _LEAST_IOU)[:, 0]
    return found.tensor[which[indices]], indices
