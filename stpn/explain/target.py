"""What is to be explained in a frame: something that a model found, or a box of the user's; and its class score."""

from typing import NamedTuple

import torch
from detectron2.structures import BitMasks, Instances

from .object_features import box_features, check_box_head


class Target(NamedTuple):
    """box: XYXY in pixels of the frame; label: class number; mask: (H, W) bool of a segmenter's, else None; score: of
    what was found, None for a box of the user's. query: number of the query that found it, which means nothing to
    another model than the segmenter that did; None: class_score looks for one."""

    box: list
    label: int
    mask: torch.Tensor | None = None
    score: float | None = None
    query: int | None = None


def find(model, frame):
    """Explained -> Instances on the CPU, in pixels of the frame, surest first. Those of a detector are what it returns
    for the frame; those of a segmenter are its queries (pred_ids: their numbers), each with its mask and its likeliest
    class by this frame alone, where a stream's scores look back over the frames before."""
    if hasattr(model, "segment"):
        found = _queries(model, frame)
    else:
        more = {} if frame.aggregated is None else {"support": frame.aggregated}
        found = model.detect(frame.item, frame.prompts, **more)
    return found[found.scores.argsort(descending=True, stable=True)]


def choose(found, *, number=1, label=None):
    """found: as from find; number: 1 the surest, 2 the next, ...; label: of this class alone. -> Target, None where
    there are fewer."""
    if label is not None:
        found = found[found.pred_classes == label]
    if len(found) < number:
        return None
    one = found[number - 1]
    mask = one.pred_masks[0] if one.has("pred_masks") else None
    query = int(one.pred_ids[0]) if one.has("pred_ids") else None
    return Target(one.pred_boxes.tensor[0].tolist(), int(one.pred_classes[0]), mask, float(one.scores[0]), query)


def class_score(model, frame, target):
    """-> function of the encoder's features: the logit of target's class. A detector's is that of target's box, a
    segmenter's that of target's query or, without, of the one whose mask overlaps most with target's mask (if it has
    none: with its box).

    Of SELSA the logit is that of a test, which aggregates the proposals of the frame itself and of its support frames.
    Its gradient goes through the features of the frame's own proposals, not through where they lie, nor through support
    frames: Grad-CAM shows nothing of either. InputError for a model without one box head, which has no such logit."""
    if hasattr(model, "segment"):
        return lambda features: _query_logit(model, frame, target, features)
    check_box_head(model)
    return lambda features: _box_logit(model, frame, target, features)


def _box_logit(model, frame, target, features):
    box = torch.tensor([target.box], dtype=torch.float32)
    found = box_features(model, frame.item, model.neck(features), box, support=frame.aggregated)
    return model.roi_heads.box_predictor(found)[0][0, target.label]


def _query_logit(model, frame, target, features):
    found = model.sem_seg_head(features)
    if target.query is not None:
        return found["pred_logits"][0, target.query, target.label]
    with torch.no_grad():
        masks = _full_masks(model, frame, found["pred_masks"][0])
        wanted = target.mask.to(masks.device) if target.mask is not None else _filled(target.box, masks[0])
        overlaps = (masks & wanted).flatten(1).sum(1) / (masks | wanted).flatten(1).sum(1).clamp(min=1)
    return found["pred_logits"][0, overlaps.argmax(), target.label]


@torch.no_grad()
def _queries(model, frame):
    found = model.sem_seg_head(model.backbone(frame.images, prompts=frame.prompts))
    scores, classes = (part.cpu() for part in found["pred_logits"][0].softmax(-1)[:, :-1].max(-1))
    masks = _full_masks(model, frame, found["pred_masks"][0]).cpu()
    seen = masks.flatten(1).any(1)
    return Instances(tuple(masks.shape[1:]), pred_masks=masks[seen],
                     pred_boxes=BitMasks(masks[seen]).get_bounding_boxes(), scores=scores[seen],
                     pred_classes=classes[seen], pred_ids=torch.arange(len(masks))[seen])


def _full_masks(model, frame, logits):
    """(Q, h, w) logits -> (Q, H, W) bool in the frame's size."""
    return model._full_size(logits, frame.item, tuple(frame.images.shape[-2:]))


def _filled(box, like):
    mask = torch.zeros_like(like)
    x1, y1, x2, y2 = (round(v) for v in box)
    mask[max(0, y1):max(0, y2), max(0, x1):max(0, x2)] = True
    return mask
