"""Matching and losses of Mask2Former against the equations in plain numpy loops, and what must not stop a training."""

import itertools
import math

import numpy as np
import pytest
import torch

from stpn.heads.mask2former import criterion as criterion_file
from stpn.heads.mask2former.criterion import SetCriterion
from stpn.heads.mask2former.matcher import HungarianMatcher

CLASSES, POINTS = 3, 10
WEIGHTS = {"class_weight": 2.0, "mask_weight": 5.0, "dice_weight": 5.0}


def build():
    matcher = HungarianMatcher(num_points=POINTS, **WEIGHTS)
    return SetCriterion(num_classes=CLASSES, matcher=matcher, no_object_weight=0.1, num_points=POINTS,
                        oversample_ratio=3.0, importance_sample_ratio=0.75, **WEIGHTS)


def outputs_of(frames=3, queries=5, size=(4, 6), layers=2, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def layer():
        logits = torch.randn(frames, queries, CLASSES + 1, generator=generator)
        masks = 4 * torch.randn(frames, queries, *size, generator=generator)
        return {"pred_logits": logits.requires_grad_(), "pred_masks": masks.requires_grad_()}

    return {**layer(), "aux_outputs": [layer() for _ in range(layers)]}


def targets_of(counts=(2, 0, 3), size=(8, 12), seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [{"labels": torch.randint(CLASSES, (n,), generator=generator),
             "masks": torch.rand(n, *size, generator=generator) > 0.5} for n in counts]


# ---- the equations, one number at a time -------------------------------------------------------------


def sample(image, x, y):
    """Bilinear value at (x, y) in [0, 1] of the picture's extent; outside the picture is 0."""
    height, width = image.shape
    column, row = x * width - 0.5, y * height - 0.5
    total = 0.0
    for i, j in itertools.product((math.floor(row), math.floor(row) + 1), (math.floor(column), math.floor(column) + 1)):
        if 0 <= i < height and 0 <= j < width:
            total += image[i, j] * (1 - abs(row - i)) * (1 - abs(column - j))
    return total


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def plain_bce(logits, wanted):
    terms = [-t * math.log(sigmoid(x)) - (1 - t) * math.log(1 - sigmoid(x)) for x, t in zip(logits, wanted)]
    return sum(terms) / len(terms)


def plain_dice(logits, wanted):
    a = [sigmoid(x) for x in logits]
    return 1 - (2 * sum(p * t for p, t in zip(a, wanted)) + 1) / (sum(a) + sum(wanted) + 1)


def plain_cost(logits, masks, target):
    """-> (Q, n); draws the frame's points."""
    points = torch.rand(1, POINTS, 2)[0].tolist()
    cost = np.zeros((len(logits), len(target["labels"])))
    for q, n in np.ndindex(*cost.shape):
        exponents = [math.exp(value) for value in logits[q]]
        predicted = [sample(masks[q], x, y) for x, y in points]
        wanted = [sample(target["masks"][n].numpy(), x, y) for x, y in points]
        cost[q, n] = -2 * exponents[target["labels"][n]] / sum(exponents)
        cost[q, n] += 5 * plain_bce(predicted, wanted) + 5 * plain_dice(predicted, wanted)
    return cost


def plain_match(logits, masks, target):
    """-> [(query, object)] of the cheapest assignment, all of them tried."""
    cost = plain_cost(logits, masks, target)
    best = min(itertools.permutations(range(len(cost)), cost.shape[1]),
               key=lambda queries: sum(cost[q, n] for n, q in enumerate(queries)))
    return sorted((q, n) for n, q in enumerate(best))


def plain_layer(outputs, targets):
    logits, masks = outputs["pred_logits"].detach().numpy(), outputs["pred_masks"].detach().numpy()
    pairs = [plain_match(*frame) for frame in zip(logits, masks, targets)]
    ce, weights = 0.0, 0.0
    for frame, matched in enumerate(pairs):
        for q, row in enumerate(logits[frame]):
            label = int(targets[frame]["labels"][dict(matched)[q]]) if q in dict(matched) else CLASSES
            weight = 0.1 if label == CLASSES else 1.0
            ce -= weight * math.log(math.exp(row[label]) / sum(math.exp(value) for value in row))
            weights += weight
    flat = [(frame, q, n) for frame, matched in enumerate(pairs) for q, n in matched]
    count, certain = len(flat), int(0.75 * POINTS)
    candidates, others = torch.rand(count, 3 * POINTS, 2).tolist(), torch.rand(count, POINTS - certain, 2).tolist()
    bce = dice = 0.0
    for (frame, q, n), drawn, more in zip(flat, candidates, others):
        chosen = sorted(drawn, key=lambda point: abs(sample(masks[frame, q], *point)))[:certain] + more
        predicted = [sample(masks[frame, q], x, y) for x, y in chosen]
        wanted = [sample(targets[frame]["masks"][n].numpy(), x, y) for x, y in chosen]
        bce, dice = bce + plain_bce(predicted, wanted), dice + plain_dice(predicted, wanted)
    return {"loss_ce": 2 * ce / weights, "loss_mask": 5 * bce / count, "loss_dice": 5 * dice / count}


def test_all_losses_and_the_order_of_their_random_points_are_those_of_the_equations():
    outputs, targets = outputs_of(), targets_of()
    torch.manual_seed(3)
    losses = build()(outputs, targets)
    torch.manual_seed(3)
    layers = {"": outputs, "_0": outputs["aux_outputs"][0], "_1": outputs["aux_outputs"][1]}
    expected = {name + suffix: value for suffix, layer in layers.items()
                for name, value in plain_layer(layer, targets).items()}
    assert losses.keys() == expected.keys() and len(losses) == 9
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, rel=2e-5), name


def test_cost_of_every_query_and_object_is_that_of_the_equations():
    outputs, (target,) = outputs_of(frames=1), targets_of((3,))
    logits, masks = outputs["pred_logits"][0].detach(), outputs["pred_masks"][0].detach()
    torch.manual_seed(5)
    cost = build().matcher.cost(logits, masks, target)
    torch.manual_seed(5)
    np.testing.assert_allclose(cost, plain_cost(logits.tolist(), masks.numpy(), target), rtol=1e-5)


@pytest.mark.parametrize("objects", [1, 3, 5])
def test_matcher_finds_the_cheapest_of_all_assignments(objects):
    outputs, targets = outputs_of(frames=1), targets_of((objects,))
    torch.manual_seed(5)
    queries, found = build().matcher(outputs, targets)[0]
    torch.manual_seed(5)
    expected = plain_match(outputs["pred_logits"][0].tolist(), outputs["pred_masks"][0].detach().numpy(), targets[0])
    assert list(zip(queries.tolist(), found.tolist())) == expected


def test_perfect_predictions_are_matched_to_their_objects_and_cost_least():
    masks = torch.zeros(3, 8, 12, dtype=torch.bool)
    for n in range(3):
        masks[n, 1:7, 4 * n: 4 * n + 4] = True
    labels, places = torch.tensor([2, 0, 1]), torch.tensor([4, 0, 2])
    logits, predicted = torch.zeros(1, 5, CLASSES + 1), torch.full((1, 5, 8, 12), -50.0)
    logits[..., -1] = 50
    logits[0, places, labels] = 100
    predicted[0, places] = 100 * masks.float() - 50
    outputs, target = {"pred_logits": logits, "pred_masks": predicted}, {"labels": labels, "masks": masks}
    queries, objects = build().matcher(outputs, [target])[0]
    assert queries.tolist() == [0, 2, 4] and objects.tolist() == [1, 2, 0]
    torch.manual_seed(0)
    losses = build()(outputs, [target])
    assert losses["loss_ce"] < 1e-6 and losses["loss_dice"] < 5 * 0.2
    predicted[0, 0], predicted[0, 2] = predicted[0, 2].clone(), predicted[0, 0].clone()
    torch.manual_seed(0)
    worse = build()(outputs, [target])
    assert worse["loss_ce"] + worse["loss_dice"] > losses["loss_dice"] + 1


def test_more_objects_than_queries_leaves_the_costliest_objects_out():
    outputs, targets = outputs_of(frames=1, queries=2, layers=0), targets_of((4,))
    queries, objects = build().matcher(outputs, targets)[0]
    assert queries.tolist() == [0, 1] and len(set(objects.tolist())) == 2
    assert all(value.isfinite() for value in build()(outputs, targets).values())


# ---- what must not stop a training --------------------------------------------------------------------


def test_batch_without_any_object_trains_the_classes_and_reaches_every_prediction():
    outputs = outputs_of()
    losses = build()(outputs, targets_of((0, 0, 0)))
    sum(losses.values()).backward()
    for suffix, layer in {"": outputs, "_0": outputs["aux_outputs"][0]}.items():
        assert losses[f"loss_mask{suffix}"] == losses[f"loss_dice{suffix}"] == 0
        assert layer["pred_logits"].grad.abs().sum() > 0
        assert layer["pred_masks"].grad is not None and not layer["pred_masks"].grad.any()
    no_object = -torch.log_softmax(outputs["pred_logits"], -1)[..., -1].mean()
    assert losses["loss_ce"].item() == pytest.approx(2 * no_object.item(), rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_batch_without_any_object_does_not_care_for_masks_that_overflowed(bad):
    outputs = outputs_of()
    with torch.no_grad():
        outputs["pred_masks"][0, 1, 0, 0] = outputs["aux_outputs"][1]["pred_masks"][2, 0, 1, 1] = bad
    losses = build()(outputs, targets_of((0, 0, 0)))
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values()) and losses["loss_mask"] == losses["loss_dice_1"] == 0
    assert not outputs["pred_masks"].grad.any()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["pred_logits", "pred_masks"])
def test_predictions_that_are_not_numbers_do_not_stop_the_matcher_and_are_matched_last(bad, place):
    outputs, targets = outputs_of(frames=1, layers=0), targets_of((3,))
    outputs = {name: value.detach().clone() for name, value in outputs.items() if name != "aux_outputs"}
    outputs[place][0, 1] = bad
    queries, objects = build().matcher(outputs, targets)[0]
    assert sorted(objects.tolist()) == [0, 1, 2] and len(set(queries.tolist())) == 3
    assert (1 not in queries.tolist()) or place == "pred_masks" and bad != math.nan
    outputs[place][:] = bad
    assert len(build().matcher(outputs, targets)[0][0]) == 3


def test_losses_under_autocast_are_the_fp32_losses_of_the_rounded_predictions():
    outputs, targets = outputs_of(layers=1), targets_of()
    rounded = {key: value.detach().bfloat16() for key, value in outputs.items() if key != "aux_outputs"}
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = build()(rounded, targets)
    torch.manual_seed(0)
    expected = build()({key: value.float() for key, value in rounded.items()}, targets)
    for name, value in losses.items():
        assert value.dtype == torch.float32 and value.isfinite() and value == expected[name], name


def test_a_frame_is_matched_the_same_whatever_the_frames_before_it_hold():
    outputs = outputs_of(frames=2, layers=0)
    last = targets_of((2,), seed=4)
    found = []
    for before in (0, 3):
        torch.manual_seed(6)
        found.append(build().matcher(outputs, targets_of((before,)) + last)[1])
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize(("others", "divisor"), [(0, 2.5), (7, 6.0), (-5, 1.0)])
def test_mask_losses_divide_by_the_mean_count_of_all_processes(monkeypatch, others, divisor):
    monkeypatch.setattr(criterion_file.comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda count: count.add_(others))
    assert criterion_file.count_masks(targets_of((2, 3)), "cpu").item() == divisor


def test_no_object_weighs_a_tenth_and_the_weights_are_kept_under_their_published_name():
    assert build().state_dict().keys() == {"empty_weight"}
    assert build().empty_weight.tolist() == pytest.approx([1, 1, 1, 0.1])
