"""Grad-CAM against a score that is linear in the features, and on the trained toy detector."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stpn.data.toy import render_video
from stpn.engine.checkpoint import load_weights
from stpn.engine.config_file import load_config
from stpn.engine.model import build_model
from stpn.errors import InputError
from stpn.explain import grad_cam

ROOT = Path(__file__).resolve().parents[2]


class _Linear(nn.Module):
    """A detector whose class score is a weighted mean of two channels, whatever the box."""

    device = torch.device("cpu")
    weights = torch.tensor([1.0, -0.5])

    def images(self, images):
        return SimpleNamespace(tensor=images[0][None].float())

    def backbone(self, images, prompts=None):
        return {"res4": images[:, :2, ::2, ::2] * 3, "res5": images[:, :2, ::4, ::4]}

    def neck(self, features):
        return {"p": features["res4"]}

    @property
    def roi_heads(self):
        return SimpleNamespace(
            box_in_features=["p"], box_pooler=lambda maps, boxes: maps[0], box_head=lambda x: x.mean((2, 3)),
            box_predictor=lambda x: (torch.stack([(x * self.weights).sum(1), -x.sum(1)], 1), None))


def test_a_linear_score_gives_the_weighted_sum_of_its_channels():
    torch.manual_seed(0)
    image = torch.rand(3, 8, 8)
    cam, logit = grad_cam(_Linear(), {"image": image}, box=[0, 0, 4, 4], label=0, stage="res4")
    maps = image[:2, ::2, ::2] * 3
    plain = nn.functional.interpolate((maps[0] - 0.5 * maps[1]).relu()[None, None], (8, 8), mode="bilinear")[0, 0]
    torch.testing.assert_close(cam, plain / plain.max())
    assert logit == pytest.approx((maps[0].mean() - 0.5 * maps[1].mean()).item())


def test_stages_that_are_not_there_or_not_read_are_refused():
    item = {"image": torch.rand(3, 8, 8)}
    with pytest.raises(InputError, match="res4, res5"):
        grad_cam(_Linear(), item, box=[0, 0, 4, 4], label=0, stage="res9")
    with pytest.raises(InputError, match="does not reach"):
        grad_cam(_Linear(), item, box=[0, 0, 4, 4], label=0, stage="res5")


def test_the_trained_toy_detector_looks_at_the_object():
    cfg = load_config(str(ROOT / "configs/toy/baseline.yaml"))
    model = build_model(cfg).eval()
    load_weights(model, cfg.MODEL.WEIGHTS)
    inside = []
    for number in range(4):
        video = render_video(3, "val", number)
        t = video.deterioration.index("clean")
        _, label, *box = video.boxes[t][0]
        item = {"image": torch.from_numpy(video.frames[t].transpose(2, 0, 1).copy())}
        cam, _ = grad_cam(model, item, box=box, label=label, stage="res4")
        assert cam.shape == (96, 96) and cam.min() >= 0 and cam.max() == 1
        x1, y1, x2, y2 = box
        inside.append(cam[y1:y2 + 1, x1:x2 + 1].mean() > 2 * cam.mean())
    assert all(inside)
