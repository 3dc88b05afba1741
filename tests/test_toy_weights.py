"""The small trained models that come with the project do what they are for."""

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.modeling import build_model
from load_script import ROOT

from stpn.data.builtin import register_all
from stpn.data.toy_ytvis import write_toy_ytvis
from stpn.engine.config_file import load_config
from stpn.engine.trainer import Trainer
from stpn.engine.weights import load_weights


@pytest.mark.parametrize("name", ["vis_baseline", "vis_stpn"])
def test_the_segmenters_find_and_name_the_objects_of_new_videos(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    register_all()
    write_toy_ytvis(tmp_path / "toy_ytvis", split="val", videos=3, seed=2023)
    DatasetCatalog.get("toy_ytvis_val")
    cfg = load_config(str(ROOT / f"configs/toy/{name}.yaml"), ["OUTPUT_DIR", str(tmp_path)])
    model = build_model(cfg).eval()
    report = load_weights(model, str(ROOT / cfg.MODEL.WEIGHTS))
    assert not report.missing and not report.unexpected
    assert all(value.dtype != torch.float16 for value in model.state_dict().values())
    loader = Trainer.build_test_loader(cfg, "toy_ytvis_val")
    figures = inference_on_dataset(model, loader, Trainer.build_evaluator(cfg, "toy_ytvis_val"))["segm"]
    assert figures["AP50"] > 60  # 90 on a hundred videos


def test_the_committed_models_are_small():
    sizes = {path.name: path.stat().st_size for path in (ROOT / "projects/STPN/weights").iterdir()}
    assert {"toy_vis_baseline.safetensors", "toy_vis_stpn.safetensors"} <= sizes.keys() and max(sizes.values()) < 5e6
