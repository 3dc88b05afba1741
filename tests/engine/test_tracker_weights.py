"""Weights of trackers: what starts which stage of a training, what may be evaluated."""

import logging

import pytest
import torch
from tiny_vot import vot_model
from tracker_names import TINY, cvt_shapes, mixformer_shapes, random_weights

from stpn.engine.checkpoint import SafeCheckpointer, load_weights
from stpn.errors import InputError

FIRST = ("MODEL.MIXFORMER.SCORE_HEAD", "False")
SECOND = ("MODEL.MIXFORMER.STAGE", "score", "MODEL.MIXFORMER.HEAD_FREEZE_BN", "True")
BASELINE = ("MODEL.STPN.ENABLED", "False")


@pytest.fixture
def start(tmp_path, caplog):
    """start(model, weights) as a training does -> the log."""
    caplog.set_level(logging.INFO, logger="stpn")

    def run(model, weights):
        torch.save(weights, tmp_path / "start.pth")
        checkpointer = SafeCheckpointer(model, str(tmp_path), trainer=torch.nn.Identity())
        checkpointer.load(str(tmp_path / "start.pth"), checkpointables=[])
        return "\n".join(record.getMessage() for record in caplog.records)

    return run


@pytest.mark.parametrize("arm, fresh", [((), "box_head, prompt_predictor"), (BASELINE, "box_head")])
def test_a_classifier_starts_the_first_stage_and_the_rest_is_said_to_start_fresh(start, arm, fresh):
    weights, model = random_weights(cvt_shapes(**TINY)), vot_model(*FIRST, *arm)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    text = start(model, weights)
    assert f"starts fresh: {fresh}\n" in text + "\n"
    assert "not used of" in text and "backbone.stage2.cls_token" in text and "backbone.head.bias" in text
    for name, value in model.state_dict().items():
        wanted = weights[name.removeprefix("backbone.")] if name.startswith("backbone.") else before[name]
        assert torch.equal(value, wanted), name


def test_a_first_stage_starts_its_second_and_the_score_head_is_said_to_start_fresh(start):
    first, second = vot_model(*FIRST, seed=1), vot_model(*SECOND, seed=2)
    assert any(name.endswith("num_batches_tracked") for name in first.state_dict())
    text = start(second, {"model": first.state_dict(), "iteration": 9})
    assert "0 unexpected, 0 of another shape; starts fresh: score_branch" in text and "not loaded" not in text
    weights = second.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in first.state_dict().items() if name in weights)


@pytest.mark.parametrize("source, named", [
    (lambda: vot_model(*FIRST, *BASELINE).state_dict(), "prompt_predictor"),  # another arm's first stage
    (lambda: random_weights(cvt_shapes(**TINY)), "box_head"),
    (lambda: vot_model(*FIRST, "MODEL.MIXFORMER.HEAD_DIM", "32").state_dict(), "box_head.conv1_br.0.bias"),
])
def test_a_second_stage_does_not_quietly_keep_random_parts_frozen(start, source, named):
    model = vot_model(*SECOND)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match=rf"keeps frozen are not in it and would stay random \({named}.*first one"):
        start(model, source())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert load_weights(model, source(), scope="parts", allow_partial=True).matched


def test_a_first_stages_weights_do_not_pass_for_a_tracker_with_a_score_head():
    """Its score would be random: templates come from anywhere, and the target is soon lost."""
    with pytest.raises(InputError, match=r"no score head in it \(score_branch.*config file of the first stage"):
        load_weights(vot_model(), vot_model(*FIRST).state_dict())
    with pytest.raises(InputError, match="nothing for box_head, prompt_predictor, score_branch"):
        load_weights(vot_model(), random_weights(cvt_shapes(**TINY)))


def test_published_weights_are_whole_for_the_baseline_and_no_prompted_tracker():
    weights = {"net": random_weights(mixformer_shapes(**TINY, channels=64)), "epoch": 40}
    report = load_weights(vot_model(*BASELINE), weights)
    assert report.missing == []
    assert [name.split(".")[1] for name in report.unexpected] == ["norm", "norm", "head", "head"]
    with pytest.raises(InputError, match="nothing for prompt_predictor"):
        load_weights(vot_model(), weights)


def test_without_weights_frozen_parts_are_said_to_stay_random(caplog):
    caplog.set_level(logging.WARNING, logger="stpn")
    SafeCheckpointer(vot_model(*SECOND)).load("")
    SafeCheckpointer(vot_model(*FIRST)).load("")
    said = ["frozen and stay random" in record.getMessage() for record in caplog.records]
    assert said == [True, False]
