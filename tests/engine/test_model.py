"""Values of our own keys that describe no model, and weights that are not the whole of one."""

from pathlib import Path

import pytest

from stpn.engine.config_file import load_config
from stpn.engine.model import build_model
from stpn.engine.weights import load_weights
from stpn.errors import InputError

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "toy"


def model(*overrides, name="stpn"):
    return build_model(load_config(str(CONFIGS / f"{name}.yaml"), ["MODEL.DEVICE", "cpu", *overrides]))


@pytest.mark.parametrize("key, value, said", [
    ("INPUT.SUPPORT.TEST_POLICY", "grdi", "grid, sliding, spread, causal"),
    ("INPUT.SUPPORT.STRIDE", "0", "at least 1"),
    ("INPUT.SUPPORT.RESIZE", "-1.0", "above 0"),
    ("MODEL.SWIN.PROMPT_MERGE", "x", "vpt, released"),
    ("MODEL.SWIN.NUM_HEADS", "[1, 2]", "4 depths and 2 num_heads"),
    ("MODEL.SWIN.OUT_FEATURES", "['res9']", "expected some of res2"),
    ("MODEL.STPN.NUM_PROMPTS", "0", "at least 1"),
    ("MODEL.STPN.PREDICTOR.NUM_HEADS", "7", "divisor"),
    ("MODEL.STPN.PREDICTOR.NAME", "Foo", "TransformerPredictor"),
])
def test_a_value_that_describes_no_model_is_named_with_what_would(key, value, said):
    with pytest.raises(InputError, match="does not describe a model") as error:
        model(key, value)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_shallow_weights_are_not_taken_for_a_deep_model():
    with pytest.raises(InputError, match="not in it"):
        load_weights(model("MODEL.STPN.DEEP", "True"), {"model": model().state_dict()})


def test_weights_without_one_encoder_block_are_refused():
    state = {n: v for n, v in model().state_dict().items() if not n.startswith("backbone.layers.3.blocks.1.")}
    with pytest.raises(InputError, match="13 of the model's tensors are not in it"):
        load_weights(model(), {"model": state})


def test_prompted_weights_in_the_baseline_are_said(caplog):
    with caplog.at_level("WARNING", logger="stpn"):
        load_weights(model(name="baseline"), {"model": model().state_dict()})
    assert "not used" in caplog.text and "prompt_predictor" in caplog.text
