"""Mask2Former's and MinVIS's checkpoints, by their own names: what starts a training, what may be evaluated."""

import logging
import pickle

import pytest
import torch
from tiny_vis import vis_model

from stpn.engine.checkpoint import SafeCheckpointer, compare, load_weights
from stpn.errors import InputError

BASELINE = ("MODEL.STPN.ENABLED", False)
CLASSES = "sem_seg_head.predictor.class_embed."


def model(*overrides, seed=0):
    return vis_model("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 5, *overrides, seed=seed)


@pytest.fixture
def coco():
    """A model as published on COCO (80 classes, here with random weights) as {name: tensor}: without our prompts, with
    a buffer that its Swin stores and that follows from the window (here a wrong one)."""
    torch.manual_seed(7)
    state = vis_model("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 80, *BASELINE).state_dict()
    state = {name: torch.randn_like(value) if value.is_floating_point() else value for name, value in state.items()}
    state["backbone.layers.0.blocks.1.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.int64)
    return state


def as_pickle(path, state):
    """As the model zoo has them: numpy arrays and remarks in a pickle."""
    arrays = {name: value.numpy() for name, value in state.items()}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody", "matching_heuristics": True}))
    return path


def as_first_published(state):
    """Before the pixel decoder had a name of its own, and when the queries were called static."""
    names = {name: name.replace("sem_seg_head.pixel_decoder.", "sem_seg_head.").replace("query_feat", "static_query")
             for name in state}
    assert sum(name != old for name, old in names.items()) > 40
    return {names[name]: value for name, value in state.items()}


def test_recorded_minvis_is_whole_for_evaluation(fixtures_dir):
    report = load_weights(vis_model(*BASELINE), fixtures_dir / "vis" / "state_dict.pt")
    assert (report.missing, report.unexpected, report.mismatched, report.fresh) == ([], [], [], [])


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("overrides", [(), BASELINE], ids=["stpn", "baseline"])
def test_coco_weights_start_a_training_with_all_but_the_classes(tmp_path, caplog, coco, overrides, early):
    caplog.set_level(logging.WARNING, logger="stpn")
    ours = model(*overrides)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    path = as_pickle(tmp_path / "model_final_86143f.pkl", as_first_published(coco) if early else coco)
    SafeCheckpointer(ours, str(tmp_path), trainer=torch.nn.Identity()).load(str(path), checkpointables=[])
    fresh = (CLASSES, "prompt_predictor.", "criterion.")
    for name, value in ours.state_dict().items():
        wanted = before if name.startswith(fresh) or name.endswith("relative_position_index") else coco
        assert torch.equal(value, wanted[name]), name
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (f"not loaded from {path}[model]: {CLASSES}weight [81, 64] for [6, 64], {CLASSES}bias [81] for [6]")


def test_coco_weights_are_refused_for_evaluation(coco):
    with pytest.raises(InputError, match=r"number of classes.*class_embed.weight \[81, 64\] for \[6, 64\]"):
        load_weights(model(*BASELINE), coco)
    with pytest.raises(InputError, match="prompt_predictor"):
        load_weights(vis_model("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 80), coco)


def test_first_published_names_are_whole_for_evaluation(coco):
    ours = vis_model("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 80, *BASELINE)
    report = load_weights(ours, {"model": as_first_published(coco)})
    assert report.missing == [] and report.unexpected == [] and len(report.matched) > 200
    name = "sem_seg_head.predictor.query_feat.weight"
    assert torch.equal(ours.state_dict()[name], coco[name])


@pytest.mark.parametrize(("key", "value", "named"), [
    ("MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", 10, r"query_feat.weight \[12, 64\] for \[10, 64\]"),
    ("MODEL.MASK_FORMER.DEC_LAYERS", 5, r"transformer_cross_attention_layers\.3\."),
    ("MODEL.MASK_FORMER.DEC_LAYERS", 3, r"transformer_cross_attention_layers\.2\."),
    ("MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS", 3, r"pixel_decoder.transformer.encoder.layers\.2\."),
])  # fmt: skip
def test_a_training_does_not_quietly_start_with_another_head(coco, key, value, named):
    with pytest.raises(InputError, match=f"mask head.*{named}.*MODEL.MASK_FORMER") as error:
        load_weights(model(key, value), coco, scope="parts")
    assert "--allow-partial" not in str(error.value)  # a training has no such option
    report = load_weights(model(key, value), coco, scope="parts", allow_partial=True)
    assert len(report.matched) > 150


def test_an_encoder_alone_starts_a_training_with_a_fresh_head(coco):
    encoder = {name.removeprefix("backbone."): value for name, value in coco.items() if name.startswith("backbone.")}
    report = load_weights(model(), encoder, scope="parts")
    assert report.fresh == ["prompt_predictor", "sem_seg_head"]


def test_class_weights_follow_the_config_and_no_file(coco):
    ours = vis_model("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 80, "MODEL.MASK_FORMER.NO_OBJECT_WEIGHT", 0.25, *BASELINE)
    without = {name: value for name, value in coco.items() if name != "criterion.empty_weight"}
    for state in (coco, without):
        load_weights(ours, state)
        assert ours.criterion.empty_weight[-1] == 0.25 and torch.equal(ours.criterion.empty_weight[:-1], torch.ones(80))
    resumed = compare(coco, ours.state_dict(), source="a run")  # what a resume goes by
    assert "criterion.empty_weight" not in resumed.matched and not (resumed.missing or resumed.mismatched)
