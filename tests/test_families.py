"""Each family of configurations through the real trainer on the generated set: a few iterations, then evaluation;
and on one sample its loss falls."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.utils.events import EventStorage
from tiny_toy import TINY, toy_sets

from stpn.data.build import build_mapper
from stpn.data.builtin import ensure_registered
from stpn.engine.config_file import load_config
from stpn.engine.model import build_model
from stpn.engine.optimizer import build_optimizer
from stpn.engine.trainer import Trainer
from stpn.evaluation import ImageNetVIDEvaluator

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "toy"
FAMILIES = ("baseline", "stpn", "stpn_deep", "stpn_mixer", "selsa", "stpn_selsa")
SHORT = (*(part for pair in TINY.items() for part in pair), "SOLVER.MAX_ITER", 3)


@pytest.fixture(scope="module", autouse=True)
def toy(tmp_path_factory):
    """toy_vid_train with two videos of 32 frames, toy_vid_val with one."""
    with toy_sets(tmp_path_factory.mktemp("datasets"), train=2, val=1) as root:
        ensure_registered(["toy_vid_train", "toy_vid_val"])
        yield root


def config(family, *overrides):
    return load_config(str(CONFIGS / f"{family}.yaml"), [*SHORT, *overrides])


@pytest.mark.parametrize("family", FAMILIES)
def test_trains_and_evaluates_and_the_saved_detections_give_the_same_figures(family, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="stpn")
    torch.manual_seed(0)
    trainer = Trainer(config(family, "OUTPUT_DIR", str(tmp_path)))
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    losses = [value for value, _ in trainer.storage.history("total_loss").values()]
    assert len(losses) == 3 and np.isfinite(losses).all()
    assert [name for name, p in trainer.model.named_parameters() if torch.equal(p, before[name])] == []
    folder = tmp_path / "inference" / "toy_vid_val"
    metrics = json.loads((folder / "vid_metrics.json").read_text())
    assert metrics["frames"] == 32 and metrics["detections"] > 0 and "32 labelled frames" in caplog.text
    again = ImageNetVIDEvaluator("toy_vid_val", output_folder=tmp_path / "again")
    again.evaluate_file(folder / "vid_detections.json")
    assert (tmp_path / "again/vid_metrics.json").read_bytes() == (folder / "vid_metrics.json").read_bytes()


def one_sample(cfg):
    """A frame in the middle of a video, with the same support frames each time."""
    mapper = build_mapper(cfg)
    frame = next(d for d in DatasetCatalog.get("toy_vid_train") if d["frame_index"] == 16)
    return mapper({**frame, "sample_seed": (0, 0)})


@pytest.mark.parametrize("family", ["stpn_deep", "stpn_mixer", "selsa", "stpn_selsa"])
def test_the_loss_on_one_sample_falls(family):
    cfg = config(family, "SOLVER.BASE_LR", 0.004, "SOLVER.CLIP_GRADIENTS.ENABLED", False)
    torch.manual_seed(0)
    model, sample = build_model(cfg).train(), one_sample(cfg)
    optimizer, totals = build_optimizer(cfg, model), []
    with EventStorage():
        for step in range(24):
            torch.manual_seed(step % 2)  # anchors and proposals are drawn
            losses = model([sample])
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
            totals.append(sum(losses.values()).item())
    assert np.mean(totals[-4:]) < 0.5 * np.mean(totals[:2]), totals
