"""What is explained in a frame, and its score: against what the models' own heads say."""

from pathlib import Path

import pytest
import torch
from detectron2.structures import Boxes, Instances
from tiny_vis import random_frames, vis_model

from stpn.engine.config_file import load_config
from stpn.engine.model import build_model
from stpn.explain import Target, choose, class_score, explained_frames, find
from stpn.explain.walk import aggregated_supports

ROOT = Path(__file__).resolve().parents[2]


class Numbered:
    """Frames with a number and a picture, as a source has them."""

    def __init__(self, frames):
        self.length, self._items = frames.length, list(frames)
        for t, item in enumerate(self._items):
            picture = item["image"].permute(1, 2, 0).numpy()
            item["frame"] = type("Frame", (), {"index": t, "image": picture})

    def __iter__(self):
        return iter(self._items)

    def select(self, indices):
        return (self._items[i] for i in indices)


def detector(name):
    torch.manual_seed(0)
    return build_model(load_config(str(ROOT / f"configs/toy/{name}.yaml"), ["MODEL.WEIGHTS", ""])).eval()


def explained(model, frames, t):
    (frame,) = explained_frames(model, frames, [t])
    return frame


def logits(model, frame, box, count):
    features = model.backbone(frame.images, prompts=frame.prompts)
    return torch.stack([class_score(model, frame, Target(box, label))(features) for label in range(count)])


@torch.no_grad()
@pytest.mark.parametrize("name", ["stpn", "stpn_selsa"])
def test_class_scores_of_a_proposal_are_those_of_the_models_own_heads(name):
    model, frames = detector(name), Numbered(random_frames(4, size=(64, 96), frame=(32, 48)))
    frame, more = explained(model, frames, 2), {}
    if name == "stpn_selsa":
        (support,) = aggregated_supports(model, frames, [2])
        frame, more = frame._replace(aggregated=support), {"support": [support]}
    images, maps, (proposals,) = model._propose(frame.item, frame.prompts)
    seen = []
    with model.roi_heads.box_predictor.register_forward_hook(lambda module, _, output: seen.append(output[0])):
        model.roi_heads(images, maps, [proposals], **more)
    for row in (0, len(proposals) - 1):
        box = (proposals.proposal_boxes.tensor[row] / 2).tolist()  # in pixels of the frame, half of the image's
        torch.testing.assert_close(logits(model, frame, box, 9), seen[0][row], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_segmenters_queries_are_those_of_its_stream_and_keep_their_scores():
    model, frames = vis_model(), Numbered(random_frames(3))
    frame, streamed = explained(model, frames, 1), [found for _, _, found in model.stream(frames)][1]
    found = find(model, frame)
    assert {mask.numpy().tobytes() for mask in streamed.pred_masks} <= {m.numpy().tobytes() for m in found.pred_masks}
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    features = model.backbone(frame.images, prompts=frame.prompts)
    rows = model.sem_seg_head(features)["pred_logits"][0]
    target = choose(found, number=2)
    query = int(found.pred_ids[1])
    assert class_score(model, frame, target)(features) == rows[query, target.label]
    assert rows[query].softmax(-1)[target.label].item() == pytest.approx(target.score)


@torch.no_grad()
def test_a_query_keeps_its_own_score_where_another_has_the_same_mask():
    model, frames = vis_model(), Numbered(random_frames(3))
    frame = explained(model, frames, 1)
    everyone_as_one = model.sem_seg_head.register_forward_hook(lambda module, arguments, found: {
        **found, "pred_masks": found["pred_masks"].mean(1, keepdim=True).expand_as(found["pred_masks"]).abs()})
    with everyone_as_one:
        found = find(model, frame)
        features = model.backbone(frame.images, prompts=frame.prompts)
        rows = model.sem_seg_head(features)["pred_logits"][0]
        number = 1 + int(found.pred_ids.argmax())
        target = choose(found, number=number)
        assert target.query == len(rows) - 1 > 0
        assert class_score(model, frame, target)(features) == rows[-1, target.label]
        others = class_score(model, frame, target._replace(query=None))(features)
    assert others == rows[0, target.label] != rows[-1, target.label]


@torch.no_grad()
def test_a_box_of_the_users_takes_the_query_whose_mask_fills_it_best():
    model, frames = vis_model(), Numbered(random_frames(3))
    frame = explained(model, frames, 1)
    box, found = [5, 4, 40, 30], find(model, frame)
    inside = torch.zeros(50, 61, dtype=torch.bool)
    inside[4:30, 5:40] = True
    overlaps = [((mask & inside).sum() / (mask | inside).sum()).item() for mask in found.pred_masks]
    best = int(found.pred_ids[max(range(len(overlaps)), key=overlaps.__getitem__)])
    features = model.backbone(frame.images, prompts=frame.prompts)
    rows = model.sem_seg_head(features)["pred_logits"][0]
    assert class_score(model, frame, Target(box, 7))(features) == rows[best, 7]


def test_detections_are_chosen_by_rank_and_class():
    boxes = torch.arange(12.0).view(3, 4)
    found = Instances((9, 9), pred_boxes=Boxes(boxes), scores=torch.tensor([0.9, 0.6, 0.2]),
                      pred_classes=torch.tensor([1, 0, 1]))
    assert choose(found) == Target(boxes[0].tolist(), 1, None, pytest.approx(0.9))
    assert choose(found, number=2).label == 0
    assert choose(found, number=2, label=1).box == boxes[2].tolist()
    assert choose(found, label=2) is None and choose(found, number=4) is None
