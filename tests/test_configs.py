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


def narrowed(path):
    """Overrides for a fast forward: heads, depths and all of our keys stay as the file has them. (At full size every
    file is built in test_parameters.py.)"""
    width = {96: 48, 128: 32, 192: 48}.get(load_config(path).MODEL.SWIN.EMBED_DIM)
    few = ["MODEL.RPN.POST_NMS_TOPK_TEST", 30]
    return [*few, "MODEL.SWIN.EMBED_DIM", width, "MODEL.FPN.OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.FC_DIM", 64] \
        if width else few


def detects_in_a_video(path, overrides):
    cfg = load_config(path, ["MODEL.DEVICE", "cpu", *overrides])
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
def test_every_config_builds_and_detects_in_a_video(name):
    detects_in_a_video(FILES[name], narrowed(FILES[name]))


def test_the_main_config_detects_in_a_video_at_full_size():
    detects_in_a_video(FILES["stpn_vid_swint.yaml"], [])


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


ENABLED, PREDICTOR, DEEP = "MODEL.STPN.ENABLED", "MODEL.STPN.PREDICTOR.NAME", "MODEL.STPN.DEEP"
SWIN = {"MODEL.SWIN.EMBED_DIM", "MODEL.SWIN.DEPTHS", "MODEL.SWIN.NUM_HEADS"}
SELSA = {"MODEL.META_ARCHITECTURE", "MODEL.ROI_HEADS.NAME", "MODEL.ROI_BOX_HEAD.NAME", "INPUT.SELSA.TRAIN_FRAMES",
         "INPUT.SUPPORT.TEST_POLICY", "INPUT.SUPPORT.TRAIN_RANGE"}  # fmt: skip
RELEASED = {"MODEL.SWIN.PROMPT_MERGE", "MODEL.STPN.NUM_PROMPTS", PREDICTOR}
SPREAD = {"INPUT.SUPPORT.SPREAD_FRAMES", "INPUT.SELSA.SPREAD_FRAMES"}
PAIRS = {  # (row, what it is measured against): the keys in which they differ
    **{(f"baseline_vid_swin{x}", f"stpn_vid_swin{x}"): {ENABLED} for x in "tsbl"},
    **{(f"stpn_vid_swin{x}_deep", f"stpn_vid_swin{x}"): {DEEP} for x in "tsbl"},
    **{(f"stpn_vid_swin{x}_mixer", f"stpn_vid_swin{x}"): {PREDICTOR} for x in "tsbl"},
    **{(f"selsa_vid_swin{x}", f"stpn_selsa_vid_swin{x}"): {ENABLED} for x in "tb"},
    **{(f"selsa_vid_swin{x}", f"baseline_vid_swin{x}"): SELSA for x in "tb"},
    **{(f"stpn_selsa_vid_swin{x}_mixer", f"stpn_selsa_vid_swin{x}"): {PREDICTOR} for x in "tb"},
    ("baseline_vid_swinb_14epochs", "stpn_vid_swinb_14epochs"): {ENABLED},
    ("stpn_vid_swinb_14epochs", "stpn_vid_swinb"): {"SOLVER.MAX_ITER", "SOLVER.STEPS"},
    ("stpn_vid_swins", "stpn_vid_swint"): {"MODEL.SWIN.DEPTHS"},
    ("stpn_vid_swinb", "stpn_vid_swint"): SWIN,
    ("stpn_vid_swinl", "stpn_vid_swint"): SWIN,
    ("stpn_selsa_vid_swinb", "stpn_selsa_vid_swint"): SWIN,
    ("stpn_vid_swint_released", "stpn_vid_swint"): {*RELEASED, "INPUT.SUPPORT.TEST_POLICY"},
    ("stpn_vid_swint_released_topk", "stpn_vid_swint_released"): {PREDICTOR},
    ("stpn_selsa_vid_swint_released", "stpn_selsa_vid_swint"): {*RELEASED, *SPREAD},
    ("toy/baseline", "toy/stpn"): {ENABLED},
    ("toy/stpn_deep", "toy/stpn"): {DEEP},
    ("toy/stpn_mixer", "toy/stpn"): {PREDICTOR, "MODEL.STPN.PREDICTOR.TOKEN_NORM"},
    ("toy/selsa", "toy/stpn_selsa"): {ENABLED},
    ("toy/selsa", "toy/baseline"): SELSA,
}


@pytest.mark.parametrize("row, other", PAIRS, ids=lambda name: name)
def test_matched_configs_differ_in_what_their_names_say_and_in_nothing_else(row, other):
    found = differences(f"{row}.yaml", f"{other}.yaml")
    # MODEL.WEIGHTS may name the two toy models that come with the project.
    assert found - ({"MODEL.WEIGHTS"} if "toy/" in row else set()) == PAIRS[row, other] | {"OUTPUT_DIR"}


def test_every_config_on_imagenet_vid_is_compared_with_another():
    rows = {name[:-5] for name in FILES if name not in SHARED and "_vid_" in f"_{name}" and "table5" not in name}
    assert rows - {"vid_mini_stpn"} == {name for pair in PAIRS for name in pair if "toy/" not in name}


TABLE5 = {"stride": ("INPUT.SUPPORT.STRIDE", (1, 2, 4, 8, 16, 32)),
          "frames": ("INPUT.SUPPORT.FRAMES_PER_SIDE", (1, 3, 5, 7, 9, 11)),
          "prompts": ("MODEL.STPN.NUM_PROMPTS", (3, 5, 7, 9, 11, 13))}  # fmt: skip


@pytest.mark.parametrize("part", TABLE5)
def test_rows_of_table_5_change_one_number_of_the_main_config(part):
    key, values = TABLE5[part]
    main = flatten_config(load_config(FILES["stpn_vid_swint.yaml"]))[key]
    rows = {name for name in FILES if name.startswith(f"vid_table5/{part}_")}
    assert rows == {f"vid_table5/{part}_{value}.yaml" for value in values if value != main} and main in values
    for name in rows:
        assert differences(name, "stpn_vid_swint.yaml") == {key, "OUTPUT_DIR"}
        assert flatten_config(load_config(FILES[name]))[key] == int(name.split("_")[-1][:-5])


@pytest.mark.parametrize("name, epochs, falls", [("stpn_vid_swint", 9, 6), ("stpn_vid_swinb_14epochs", 14, 8)])
def test_schedules_are_those_of_the_paper_in_passes_over_vid_and_det(name, epochs, falls):
    solver = load_config(FILES[f"{name}.yaml"]).SOLVER
    passes = [i * solver.IMS_PER_BATCH / (57_834 + 53_639) for i in (solver.MAX_ITER, *solver.STEPS)]
    assert passes == pytest.approx([epochs, falls], abs=0.01)


def test_every_config_on_imagenet_vid_names_its_row_of_the_paper():
    for name, path in FILES.items():
        if name not in SHARED and not name.startswith(("toy/", "vid_mini")):
            assert sum(line.startswith("# Paper: ") for line in path.read_text().splitlines()) == 1, name


def test_every_config_writes_into_the_folder_of_its_name():
    for name in set(FILES) - set(SHARED):
        assert load_config(FILES[name]).OUTPUT_DIR == f"output/{name[:-5]}"


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
