"""Every YAML under configs/ builds and runs; matched arms differ by nothing but the prompts; names are unique."""

import ast
import importlib
import pkgutil
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import META_ARCH_REGISTRY, build_model

import stpn
from stpn.data import builtin
from stpn.data.mapper import MAPPER_REGISTRY
from stpn.engine.config_file import flatten_config, load_config
from stpn.evaluation.build import EVALUATORS

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
FILES = {path.relative_to(CONFIGS).as_posix(): path for path in sorted(CONFIGS.rglob("*.yaml"))}
SHARED = [name for name in FILES if Path(name).stem.startswith("base_") or Path(name).stem == "base"]


class Video:
    """Two frames of 64 x 48 pixels, to be returned in an original of twice that size."""

    length = 2

    def __init__(self):
        shape = (self.length, 3, 48, 64)
        images = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        self.items = [{"image": image, "height": 96, "width": 128} for image in images]

    def __iter__(self):
        return iter(self.items)

    def select(self, indices):
        return (self.items[i] for i in indices)


@pytest.mark.parametrize("name", FILES)
def test_every_config_builds_and_detects_in_a_video(name):
    cfg = load_config(FILES[name], ["MODEL.DEVICE", "cpu"])
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    assert (model.prompt_predictor is not None) == cfg.MODEL.STPN.ENABLED
    (frames,) = model([{"frames": Video()}])
    assert len(frames) == Video.length
    for found in frames:
        assert found.image_size == (96, 128) and len(found) <= cfg.TEST.DETECTIONS_PER_IMAGE
        boxes = found.pred_boxes.tensor
        assert torch.isfinite(boxes).all() and torch.isfinite(found.scores).all()
        assert (boxes >= 0).all() and (boxes <= torch.tensor([128, 96, 128, 96])).all()
        assert (found.pred_classes < cfg.MODEL.ROI_HEADS.NUM_CLASSES).all()


@pytest.mark.parametrize("name", FILES)
def test_names_in_every_config_are_known(name):
    cfg = load_config(FILES[name])
    assert {*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST} <= set(builtin.ENTRIES)
    assert cfg.MODEL.META_ARCHITECTURE in META_ARCH_REGISTRY and cfg.INPUT.MAPPER in MAPPER_REGISTRY
    assert cfg.INPUT.FORMAT == "RGB" and max(cfg.MODEL.PIXEL_MEAN) == cfg.MODEL.PIXEL_MEAN[0]  # red is the largest


def differences(first, second):
    one, two = (flatten_config(load_config(FILES[name])) for name in (first, second))
    assert one.keys() == two.keys()
    return {key for key in one if one[key] != two[key]}


def test_the_baseline_differs_from_stpn_by_the_switch_alone():
    found = differences("baseline_vid_swint.yaml", "stpn_vid_swint.yaml")
    assert found == {"MODEL.STPN.ENABLED", "OUTPUT_DIR"}


def test_the_toy_baseline_differs_from_the_toy_stpn_by_the_switch_alone():
    # MODEL.WEIGHTS may name the trained models that come with the project, one for each arm.
    found = differences("toy/baseline.yaml", "toy/stpn.yaml")
    assert found - {"MODEL.WEIGHTS"} == {"MODEL.STPN.ENABLED", "OUTPUT_DIR"}


def test_the_mixer_differs_by_the_predictor_alone():
    found = differences("stpn_vid_swint_mixer.yaml", "stpn_vid_swint.yaml")
    assert found == {"MODEL.STPN.PREDICTOR.NAME", "OUTPUT_DIR"}


def test_no_two_configs_write_into_the_same_folder():
    # The second would resume, or overwrite, the checkpoints of the first.
    folders = Counter(load_config(path).OUTPUT_DIR for name, path in FILES.items() if name not in SHARED)
    assert SHARED and max(folders.values()) == 1, folders


def test_every_module_imports_and_no_registry_gets_a_name_twice():
    # Registries refuse a second entry at once, so importing everything is the test.
    names = [module.name for module in pkgutil.walk_packages(stpn.__path__, "stpn.")]
    for name in names:
        importlib.import_module(name)
    assert {"stpn.meta_arch.vod", "stpn.data.mapper", "stpn.engine.trainer"} <= set(names)


def repeated_keys(path, name):
    """Keys that stand more than once in the dict literal assigned to name in a file: Python keeps the last."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", None) for target in node.targets] == [name]:
            keys = Counter(ast.literal_eval(key) for key in node.value.keys)
            return [key for key, count in keys.items() if count > 1]
    raise AssertionError(f"{name} is not a dict in {path}")


def test_no_data_set_or_evaluator_is_named_twice():
    assert repeated_keys(Path(builtin.__file__), "ENTRIES") == []
    assert repeated_keys(Path(importlib.import_module("stpn.evaluation.build").__file__), "EVALUATORS") == []
    assert EVALUATORS


def test_names_of_data_sets_are_not_taken_by_detectron2():
    # register_all leaves names alone that are registered already: one of detectron2's would stay.
    builtin.register_all()
    for name, entry in builtin.ENTRIES.items():
        load = DatasetCatalog[name]
        assert isinstance(load, partial) and load.args[0] is entry
