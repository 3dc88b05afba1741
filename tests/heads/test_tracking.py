"""A tracker's heads against the recorded MixFormer and plain versions."""

import pytest
import torch

from stpn.encoders import PromptedCvT
from stpn.heads.tracking import CornerHead, ScoreHead, ciou_loss, precise_roi_pool


@pytest.fixture(scope="module")
def recorded(fixtures_dir):
    return lambda name: torch.load(fixtures_dir / "vot" / name, weights_only=True)


def test_boxes_and_scores_equal_the_recorded_mixformer(recorded):
    weights, case = recorded("tiny/state_dict.pt"), recorded("tiny/joint.pt")
    parts = {"backbone": PromptedCvT(widths=(16, 32, 64), depths=(1, 2, 3), num_heads=(1, 2, 4)),
             "box_head": CornerHead(64, width=64), "score_branch": ScoreHead(64)}
    for name, part in parts.items():
        own = {key[len(name) + 1:]: value for key, value in weights.items() if key.startswith(f"{name}.")}
        part.eval().load_state_dict(own, strict=name != "backbone")  # which holds ImageNet's classifier as well
    with torch.no_grad():
        templates = torch.stack([case["template"], case["online_template"]], 1)
        templates = parts["backbone"].embed_templates(templates)
        found = parts["backbone"](case["search"], templates=templates)["res4"]
        boxes = parts["box_head"](found)
        scores = parts["score_branch"](found, templates.maps[:, 0], boxes)
        true_scores = parts["score_branch"](found, templates.maps[:, 0], case["gt_bboxes"])
    torch.testing.assert_close(boxes, case["pred_xyxy"], atol=1e-4, rtol=0)
    torch.testing.assert_close(scores, case["pred_scores"], atol=1e-4, rtol=0)
    torch.testing.assert_close(true_scores, case["pred_scores_gt"], atol=1e-4, rtol=0)


def test_roi_pooling_equals_the_recorded_kernel(recorded):
    case = recorded("ops/prroi.pt")
    for size, scale, name in ((4, 1.0, "out_4x4_scale1"), (7, 0.5, "out_7x7_scale0p5")):
        found = precise_roi_pool(case["feat"], case["rois"], size, scale=scale)
        torch.testing.assert_close(found, case[name], atol=2e-5, rtol=1e-5)


def test_roi_pooling_equals_a_fine_sum_over_the_bilinear_map():
    features = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    x1, y1, x2, y2 = 0.7, -0.6, 4.9, 3.2
    steps = 400
    xs, ys = (torch.linspace(a, b, 2 * steps + 1, dtype=torch.float64)[1::2] for a, b in ((x1, x2), (y1, y2)))
    hat = lambda p, n: (1 - (p[:, None] - torch.arange(n)).abs()).clamp(min=0)  # noqa: E731
    fine = torch.einsum("yi,cij,xj->cyx", hat(ys, 5), features[0], hat(xs, 6))
    wanted = torch.nn.functional.avg_pool2d(fine, steps // 2)
    found = precise_roi_pool(features, torch.tensor([[0, x1, y1, x2, y2]], dtype=torch.float64), 2)[0]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_roi_without_area_pools_zero_and_has_a_finite_gradient():
    features = torch.randn(1, 2, 5, 6, requires_grad=True)
    rois = torch.tensor([[0.0, 1, 1, 1, 4], [0, 3, 1, 2, 4]], requires_grad=True)
    pooled = precise_roi_pool(features, rois, 3)
    assert not pooled.any()
    pooled.sum().backward()
    assert features.grad.isfinite().all() and rois.grad.isfinite().all()


def test_ciou_equals_the_recorded_loss_and_gradient(recorded):
    case = recorded("ops/boxes_losses.pt")
    boxes = case["pred"].clone().requires_grad_()
    loss, iou = ciou_loss(boxes, case["gt"])
    loss.backward()
    torch.testing.assert_close(loss, case["ciou_loss"], atol=1e-6, rtol=0)
    torch.testing.assert_close(iou, case["iou"], atol=1e-5, rtol=0)
    torch.testing.assert_close(boxes.grad, case["ciou_grad"], atol=1e-5, rtol=0)


def test_a_certain_corner_is_the_upper_left_of_its_cell():
    head = CornerHead(8, width=16).eval()
    logits = torch.full((1, 1, 4, 5), -50.0)
    logits[0, 0, 2, 3] = 50.0
    head.score_map = lambda features, corner: logits
    assert head(torch.zeros(1, 8, 4, 5))[0].tolist() == pytest.approx([3 / 5, 2 / 4] * 2)


def test_frozen_normalisation_has_no_parameters_and_the_same_names():
    free, frozen = CornerHead(16, width=16), CornerHead(16, width=16, freeze_bn=True)
    names = {name for name in free.state_dict() if not name.endswith("num_batches_tracked")}
    assert names == set(frozen.state_dict())
    assert sum(p.numel() for p in frozen.parameters()) < sum(p.numel() for p in free.parameters())
