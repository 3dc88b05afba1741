"""The small trained models that come with the project do what they are for."""

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.modeling import build_model
from load_script import ROOT

from stpn.data.builtin import register_all
from stpn.data.toy_got10k import write_toy_got10k
from stpn.data.toy_ytvis import write_toy_ytvis
from stpn.engine.config_file import load_config
from stpn.engine.trainer import Trainer
from stpn.engine.weights import load_weights


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    register_all()
    return tmp_path


def figures_of(name, dataset, output):
    """Evaluate the weights that configs/toy/<name>.yaml names -> results by kind."""
    DatasetCatalog.get(dataset)
    cfg = load_config(str(ROOT / f"configs/toy/{name}.yaml"), ["OUTPUT_DIR", str(output)])
    model = build_model(cfg).eval()
    report = load_weights(model, str(ROOT / cfg.MODEL.WEIGHTS))
    assert not report.missing and not report.unexpected
    assert all(value.dtype != torch.float16 for value in model.state_dict().values())
    loader = Trainer.build_test_loader(cfg, dataset)
    return inference_on_dataset(model, loader, Trainer.build_evaluator(cfg, dataset))


@pytest.mark.parametrize("name", ["vis_baseline", "vis_stpn"])
def test_the_segmenters_find_and_name_the_objects_of_new_videos(name, datasets):
    write_toy_ytvis(datasets / "toy_ytvis", split="val", videos=3, seed=2023)
    assert figures_of(name, "toy_ytvis_val", datasets)["segm"]["AP50"] > 60  # 90 on a hundred videos


@pytest.mark.parametrize("name", ["vot_baseline_score", "vot_stpn_score"])
def test_the_trackers_follow_their_targets_through_new_sequences(name, datasets):
    write_toy_got10k(datasets / "toy_got10k", split="val", videos=3, seed=2023)
    assert figures_of(name, "toy_got10k_val", datasets)["got10k"]["AO"] > 30  # 42 on sixty sequences


@pytest.mark.parametrize("task", ["vis", "vot"])
def test_the_committed_models_are_small(task):
    sizes = {path.name: path.stat().st_size for path in (ROOT / "projects/STPN/weights").iterdir()}
    assert {f"toy_{task}_{arm}.safetensors" for arm in ("baseline", "stpn")} <= sizes.keys()
    assert max(sizes.values()) < 5e6
