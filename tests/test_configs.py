"""Every YAML under configs/ builds and runs; matched arms differ by nothing but the prompts; names are unique."""

import ast
import importlib
import pkgutil
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import META_ARCH_REGISTRY, build_model

import stpn
from stpn.config import class_count
from stpn.data import Frame, builtin
from stpn.data.mapper import MAPPER_REGISTRY
from stpn.engine.config_file import flatten_config, load_config
from stpn.evaluation.build import EVALUATORS

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
FILES = {path.relative_to(CONFIGS).as_posix(): path for path in sorted(CONFIGS.rglob("*.yaml"))
         if "studies" not in path.parts}  # which are read by stpn/study/study_file.py
SHARED = [name for name in FILES if "base" in Path(name).stem.split("_")]


class Video:
    """Two frames of 64 x 48 pixels, to be returned in an original of twice that size."""

    length = 2

    def __init__(self):
        shape = (self.length, 3, 48, 64)
        images = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        frames = [Frame(t, t / 10, image.permute(1, 2, 0).numpy()) for t, image in enumerate(images)]  # for trackers
        self.items = [{"image": image, "height": 96, "width": 128, "frame": frame}
                      for image, frame in zip(images, frames, strict=True)]

    def __iter__(self):
        return iter(self.items)

    def select(self, indices):
        return (self.items[i] for i in indices)


def narrowed(path):
    """Overrides for a fast forward: heads, depths (not a tracker's) and all of our keys stay as the file has them. (At
    full size every file is built in test_parameters.py.)"""
    cfg = load_config(path)
    if is_tracker(cfg):
        return ["MODEL.CVT.WIDTHS", [16, 32, 64], "MODEL.CVT.DEPTHS", [1, 1, 2], "MODEL.CVT.NUM_HEADS", [1, 2, 4],
                "MODEL.MIXFORMER.HEAD_DIM", 16, "INPUT.TRACKING.SEARCH_SIZE", 64, "INPUT.TRACKING.TEMPLATE_SIZE", 32]
    width = {96: 48, 128: 32, 192: 48}.get(cfg.MODEL.SWIN.EMBED_DIM)
    few = ["MODEL.RPN.POST_NMS_TOPK_TEST", 30]
    if not width:
        return few
    mask_head = [part for key in ("MASK_FORMER.HIDDEN_DIM", "MASK_FORMER.DIM_FEEDFORWARD", "SEM_SEG_HEAD.CONVS_DIM",
                                  "SEM_SEG_HEAD.MASK_DIM") for part in (f"MODEL.{key}", 32)]
    return [*few, *mask_head, "MODEL.SWIN.EMBED_DIM", width, "MODEL.FPN.OUT_CHANNELS", 16,
            "MODEL.ROI_BOX_HEAD.FC_DIM", 64]


def is_tracker(cfg):
    return cfg.MODEL.META_ARCHITECTURE == "VideoObjectTracker"


def detects_in_a_video(path, overrides):
    cfg = load_config(path, ["MODEL.DEVICE", "cpu", *overrides])
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    assert (model.prompt_predictor is not None) == cfg.MODEL.STPN.ENABLED
    (frames,) = model([{"frames": Video(), "box": [20.0, 10.0, 24.0, 16.0]}])  # what trackers alone look at
    if is_tracker(cfg):
        return check_track(frames, cfg)
    if cfg.MODEL.META_ARCHITECTURE == "VideoInstanceSegmenter":
        return check_tracks(frames, cfg)
    assert len(frames) == Video.length
    for found in frames:
        assert found.image_size == (96, 128) and len(found) <= cfg.TEST.DETECTIONS_PER_IMAGE
        boxes = found.pred_boxes.tensor
        assert torch.isfinite(boxes).all() and torch.isfinite(found.scores).all()
        assert (boxes >= 0).all() and (boxes <= torch.tensor([128, 96, 128, 96])).all()
        assert (found.pred_classes < cfg.MODEL.ROI_HEADS.NUM_CLASSES).all()


def check_tracks(found, cfg):
    """found: what a segmenter returns for Video."""
    count = len(found["pred_scores"])
    assert found["image_size"] == (96, 128) and count == cfg.TEST.MAX_TRACKS
    assert all(0 <= score <= 1 for score in found["pred_scores"])
    assert set(found["pred_labels"]) <= set(range(cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES))
    assert set(found["pred_ids"]) <= set(range(cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES))
    masks = [mask for track in found["pred_masks"] for mask in track]
    assert len(masks) == count * Video.length and {tuple(mask["size"]) for mask in masks if mask} <= {(96, 128)}


def check_track(found, cfg):
    """found: what a tracker returns for Video."""
    assert found["boxes"].shape == (Video.length, 4) and found["boxes"][0].tolist() == [20, 10, 24, 16]
    x, y, w, h = found["boxes"][1]
    assert w >= 10 and h >= 10 and x <= 64 - 10 and y <= 48 - 10 and x + w >= 10 and y + h >= 10
    assert np.isfinite(found["boxes"]).all() and (found["times"] > 0).all()
    scores = found["scores"]
    if cfg.MODEL.MIXFORMER.SCORE_HEAD:
        assert scores[0] == 1 and 0 < scores[1] < 1
    else:
        assert np.isnan(scores).all()


@pytest.mark.parametrize("name", FILES)
def test_every_config_builds_and_detects_in_a_video(name):
    detects_in_a_video(FILES[name], narrowed(FILES[name]))


@pytest.mark.parametrize("name", ["stpn_vid_swint", "stpn_ytvis19_swint", "stpn_got10k_cvt21_score"])
def test_the_main_configs_detect_in_a_video_at_full_size(name):
    detects_in_a_video(FILES[f"{name}.yaml"], [])


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
SET = {"DATASETS.TRAIN", "DATASETS.TEST", "SOLVER.MAX_ITER", "SOLVER.STEPS"}
LARGE = {*SWIN, "MODEL.SWIN.WINDOW_SIZE", "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES"}
YTVIS = [f"{data}_swin{x}" for data in ("ytvis19", "ytvis21", "ovis") for x in "tl"]
TRACKERS = ("cvt21", "cvt21_1k", "cvtw24")
SCORE = {"MODEL.WEIGHTS", "MODEL.MIXFORMER.STAGE", "MODEL.MIXFORMER.SCORE_HEAD", "MODEL.MIXFORMER.HEAD_FREEZE_BN",
         "INPUT.TRACKING.SAMPLING", "SOLVER.MAX_ITER", "SOLVER.STEPS", "SOLVER.CHECKPOINT_PERIOD"}  # fmt: skip
CVTW24 = {"MODEL.WEIGHTS", "MODEL.CVT.WIDTHS", "MODEL.CVT.DEPTHS", "MODEL.CVT.NUM_HEADS", "MODEL.CVT.DROP_PATH_RATES",
          "MODEL.BACKBONE.FREEZE_AT", "SOLVER.IMS_PER_BATCH", "SOLVER.MAX_ITER", "SOLVER.STEPS",
          "SOLVER.CHECKPOINT_PERIOD"}  # fmt: skip
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
    **{(f"baseline_{name}", f"stpn_{name}"): {ENABLED} for name in YTVIS},
    **{(f"stpn_{data}_swinl", f"stpn_{data}_swint"): LARGE for data in ("ytvis19", "ytvis21", "ovis")},
    **{(f"stpn_ytvis21_swin{x}", f"stpn_ytvis19_swin{x}"): SET for x in "tl"},
    **{(f"stpn_ovis_swin{x}", f"stpn_ytvis19_swin{x}"): {*SET, "MODEL.SEM_SEG_HEAD.NUM_CLASSES"} for x in "tl"},
    **{(f"baseline_got10k_{x}", f"stpn_got10k_{x}"): {ENABLED} for x in TRACKERS},
    **{(f"baseline_got10k_{x}_score", f"stpn_got10k_{x}_score"): {ENABLED, "MODEL.WEIGHTS"} for x in TRACKERS},
    **{(f"stpn_got10k_{x}_score", f"stpn_got10k_{x}"): SCORE for x in ("cvt21", "cvtw24")},
    ("stpn_got10k_cvt21_1k", "stpn_got10k_cvt21"): {"MODEL.WEIGHTS", "SOLVER.BACKBONE_MULTIPLIER"},
    ("stpn_got10k_cvt21_1k_score", "stpn_got10k_cvt21_1k"):
        {*SCORE, "TEST.TRACKING.ONLINE_TEMPLATES", "TEST.TRACKING.SCORE_DECAY"},
    ("stpn_got10k_cvtw24", "stpn_got10k_cvt21"): CVTW24,
    ("toy/baseline", "toy/stpn"): {ENABLED},
    ("toy/vis_baseline", "toy/vis_stpn"): {ENABLED},
    **{(f"toy/vot_baseline{stage}", f"toy/vot_stpn{stage}"): {ENABLED} for stage in ("", "_score")},
    ("toy/vot_stpn_score", "toy/vot_stpn"): SCORE - {"MODEL.WEIGHTS", "SOLVER.STEPS", "SOLVER.CHECKPOINT_PERIOD"},
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


def of_the_paper(name):
    """Whether a file is a row on a real data set, not a small one of ours."""
    return name not in SHARED and not name.startswith(("toy/", "vid_mini", "ytvis_mini", "got10k_mini"))


def test_every_config_on_a_real_set_is_compared_with_another():
    rows = {name[:-5] for name in FILES if of_the_paper(name) and "table5" not in name}
    assert rows == {name for pair in PAIRS for name in pair if "toy/" not in name}


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


@pytest.mark.parametrize("data, frames, falls", [
    ("ytvis19", 32 * 6000, 32 * 4000), ("ytvis21", 32 * 8000, 32 * 5500), ("ovis", 32 * 10000, 32 * 7000),
])  # fmt: skip
@pytest.mark.parametrize("size", "tl")
def test_schedules_on_youtube_vis_and_ovis_are_those_of_minvis_in_frames(data, frames, falls, size):
    cfg = load_config(FILES[f"baseline_{data}_swin{size}.yaml"])
    solver, clip = cfg.SOLVER, cfg.SOLVER.CLIP_GRADIENTS
    assert [i * solver.IMS_PER_BATCH for i in (solver.MAX_ITER, *solver.STEPS)] == [frames, falls]
    assert (solver.OPTIMIZER, solver.BASE_LR, solver.BACKBONE_MULTIPLIER, solver.GAMMA) == ("ADAMW", 1e-4, 0.1, 0.1)
    assert (solver.WEIGHT_DECAY, solver.WEIGHT_DECAY_NORM, solver.WEIGHT_DECAY_EMBED) == (0.05, 0, 0)
    assert (clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE, solver.AMP.ENABLED) == (True, "full_model", 0.01, True)
    assert (cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.CLIP_CROP.ENABLED) == ((360, 480), 480, False)
    assert cfg.MODEL.SWIN.DROP_PATH_RATE == 0.3 and not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS


@pytest.mark.parametrize("kind", ["stpn", "baseline"])
@pytest.mark.parametrize("size, batch, backbone", [("cvt21", 256, 0.1), ("cvt21_1k", 256, 1.0), ("cvtw24", 128, 0.1)])
def test_schedules_on_got10k_are_those_of_mixformer_in_epochs(kind, size, batch, backbone):
    """Epochs of 60,000 samples, an incomplete batch left out; of each stage."""
    for stage, epochs, falls in (("", 500, 400), ("_score", 40, 30)):
        solver = load_config(FILES[f"{kind}_got10k_{size}{stage}.yaml"]).SOLVER
        clip, epoch = solver.CLIP_GRADIENTS, 60_000 // batch
        assert (solver.IMS_PER_BATCH, solver.MAX_ITER, solver.STEPS) == (batch, epochs * epoch, (falls * epoch,))
        assert (solver.OPTIMIZER, solver.BASE_LR, solver.BACKBONE_MULTIPLIER) == ("ADAMW", 1e-4, backbone)
        assert (solver.WEIGHT_DECAY, solver.WEIGHT_DECAY_NORM, solver.WEIGHT_DECAY_BIAS) == (1e-4, 1e-4, None)
        assert (solver.GAMMA, solver.PREDICTOR_MULTIPLIER, solver.WARMUP_ITERS) == (0.1, 1.0, 0)
        assert (clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE, clip.NORM_TYPE) == (True, "full_model", 0.1, 2.0)


@pytest.mark.parametrize("kind", ["stpn", "baseline"])
@pytest.mark.parametrize("size", TRACKERS)
def test_trainings_on_got10k_keep_a_few_checkpoints_and_are_matched_by_their_seed(kind, size):
    """Every checkpoint is kept: up to 2.2 GB each."""
    for stage in ("", "_score"):
        cfg = load_config(FILES[f"{kind}_got10k_{size}{stage}.yaml"])
        assert 4 <= cfg.SOLVER.MAX_ITER / cfg.SOLVER.CHECKPOINT_PERIOD <= 10 and cfg.SEED == 0


@pytest.mark.parametrize("size, online, decay", [("cvt21", 2, 0.98), ("cvt21_1k", 3, 1.0), ("cvtw24", 2, 0.98)])
def test_trackers_on_got10k_are_tested_with_mixformers_settings(size, online, decay):
    for kind in ("stpn", "baseline"):
        cfg = load_config(FILES[f"{kind}_got10k_{size}_score.yaml"])
        test, sizes = cfg.TEST.TRACKING, cfg.INPUT.TRACKING
        assert (test.UPDATE_INTERVAL, test.ONLINE_TEMPLATES, test.SCORE_DECAY) == (10, online, decay)
        assert (test.SEARCH_FACTOR, test.UPDATE_SCORE) == (4.55, 0.5)
        assert (sizes.SEARCH_SIZE, sizes.TEMPLATE_SIZE, sizes.SEARCH_FACTOR, sizes.TEMPLATE_FACTOR) == (320, 128, 5, 2)
        assert (cfg.MODEL.MIXFORMER.CIOU_WEIGHT, cfg.MODEL.MIXFORMER.L1_WEIGHT) == (2, 5)
        assert sizes.MAX_GAP == 200 and (sizes.CENTER_JITTER, sizes.SCALE_JITTER) == (4.5, 0.5)
        support = cfg.INPUT.SUPPORT
        assert (support.FRAMES_PER_SIDE, support.STRIDE, support.TRAIN_FRAMES, support.KEEP_FIRST) == (7, 8, 2, True)


@pytest.mark.parametrize("kind", ["stpn", "baseline"])
@pytest.mark.parametrize("size", TRACKERS)
def test_a_second_stage_starts_where_the_first_one_ends(kind, size):
    first, second = (load_config(FILES[f"{kind}_got10k_{size}{stage}.yaml"]) for stage in ("", "_score"))
    assert second.MODEL.WEIGHTS == f"{first.OUTPUT_DIR}/model_final.pth"
    stage = lambda cfg: (cfg.MODEL.MIXFORMER.STAGE, cfg.MODEL.MIXFORMER.SCORE_HEAD, cfg.INPUT.TRACKING.SAMPLING)  # noqa: E731
    assert [stage(first), stage(second)] == [("box", False, "causal"), ("score", True, "trident_pro")]


@pytest.mark.parametrize("size", TRACKERS)
def test_the_command_in_a_trackers_config_makes_the_weights_that_it_names(size):
    """From the folder above: the converter is in projects/STPN."""
    text = FILES[f"stpn_got10k_{size}.yaml"].read_text().replace("\\\n# Start:", "")
    command = next(line for line in text.splitlines() if "convert_weights.py" in line).split()
    assert command[4] == f"configs/stpn_got10k_{size}.yaml" and command[5].endswith(".pth")
    assert command[6] == load_config(FILES[f"stpn_got10k_{size}.yaml"]).MODEL.WEIGHTS


@pytest.mark.parametrize("name", [f"{kind}_{row}" for kind in ("stpn", "baseline") for row in YTVIS])
def test_class_counts_are_those_of_the_data_set(name):
    cfg = load_config(FILES[f"{name}.yaml"])
    assert class_count(cfg)[1] == (25 if "ovis" in name else 40)
    data = "ovis" if "ovis" in name else name.split("_")[1].replace("ytvis", "ytvis_20")
    assert [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST] == [f"{data}_train", f"{data}_val"]


def test_every_config_on_a_real_set_names_its_row_of_the_paper():
    for name, path in FILES.items():
        if of_the_paper(name):
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


def written_keys(path, name):
    """Keys in the dict literal assigned to name in a file, as often as they stand there, without those of ** parts."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", None) for target in node.targets] == [name]:
            return [ast.literal_eval(key) for key in node.value.keys if key is not None]
    raise AssertionError(f"{name} is not a dict in {path}")


def test_no_data_set_or_evaluator_is_named_twice():
    # Python keeps the last of two equal keys without a word.
    parts = len(builtin.VIS_ENTRIES) + len(builtin.TRACKING_ENTRIES)
    assert len(written_keys(Path(builtin.__file__), "ENTRIES")) + parts == len(builtin.ENTRIES)
    evaluators = written_keys(Path(importlib.import_module("stpn.evaluation.build").__file__), "EVALUATORS")
    assert len(evaluators) == len(EVALUATORS) > 0


def test_names_of_data_sets_are_not_taken_by_detectron2():
    # register_all leaves names alone that are registered already: one of detectron2's would stay.
    builtin.register_all()
    for name, entry in builtin.ENTRIES.items():
        load = DatasetCatalog[name]
        assert isinstance(load, partial) and load.args[0] is entry
