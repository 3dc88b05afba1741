"""Numbers of parameters at full size: those counted on the published modules, and every configuration by formula."""

from pathlib import Path

import pytest
import torch
from load_script import load_script

from stpn.prompting.predictor import PROMPT_PREDICTOR_REGISTRY

ROOT = Path(__file__).resolve().parents[1]
BASELINES = {"t": 44_895_072, "s": 66_212_976, "b": 104_242_270, "l": 212_741_178}
WIDTHS = {"t": 96, "s": 96, "b": 128, "l": 192}
DEPTHS = {"t": (2, 2, 6, 2), "s": (2, 2, 18, 2), "b": (2, 2, 18, 2), "l": (2, 2, 18, 2)}
SELSA = 8_396_800


@pytest.fixture(scope="module")
def script():
    module = load_script(ROOT / "projects/STPN/config_table.py")
    return module


def linear(inputs, outputs):
    return inputs * outputs + outputs


def transformer(d, prompts, support=None):
    """Projection, queries, three LayerNorms, attention (q, k, v, out), FFN of hidden width d / 4. support: width of the
    support embeddings, a Swin's last one by default."""
    return linear(support or 8 * d, d) + prompts * d + 6 * d + 4 * linear(d, d) + linear(d, d // 4) + linear(d // 4, d)


def mixer(d, prompts):
    """LayerNorm, token FFN 49-49-P, LayerNorm, channel FFN 8d - 3d/4 - d."""
    tokens = 16 * d + linear(49, 49) + linear(49, prompts)
    return tokens + 2 * prompts + linear(8 * d, 3 * d // 4) + linear(3 * d // 4, d)


def attention(d, prompts):
    return linear(8 * d, d) + prompts * d + 4 * linear(d, d)


def top_k(d, prompts):
    return linear(8 * d, d)


def deep(size):
    """One linear layer a block, from the first width to the block's."""
    d = WIDTHS[size]
    return sum(depth * linear(d, d * 2**stage) for stage, depth in enumerate(DEPTHS[size]))


ADDED = {
    **{f"stpn_vid_swin{s}": transformer(WIDTHS[s], 7) for s in "tsbl"},
    **{f"stpn_vid_swin{s}_deep": transformer(WIDTHS[s], 7) + deep(s) for s in "tsbl"},
    **{f"stpn_vid_swin{s}_mixer": mixer(WIDTHS[s], 7) for s in "tsbl"},
    **{f"baseline_vid_swin{s}": 0 for s in "tsbl"},
    "stpn_vid_swinb_14epochs": transformer(128, 7), "baseline_vid_swinb_14epochs": 0,
    "stpn_vid_swint_released": attention(96, 5), "stpn_vid_swint_released_topk": top_k(96, 5),
    **{f"selsa_vid_swin{s}": SELSA for s in "tb"},
    **{f"stpn_selsa_vid_swin{s}": SELSA + transformer(WIDTHS[s], 7) for s in "tb"},
    **{f"stpn_selsa_vid_swin{s}_mixer": SELSA + mixer(WIDTHS[s], 7) for s in "tb"},
    "stpn_selsa_vid_swint_released": SELSA + attention(96, 5),
    **{f"vid_table5/stride_{n}": transformer(96, 7) for n in (1, 2, 4, 16, 32)},
    **{f"vid_table5/frames_{n}": transformer(96, 7) for n in (1, 3, 5, 9, 11)},
    **{f"vid_table5/prompts_{n}": transformer(96, n) for n in (3, 5, 9, 11, 13)},
}  # fmt: skip


@pytest.mark.parametrize("name", ADDED)
def test_every_configuration_has_its_baselines_parameters_and_what_the_formulas_add(name, script):
    size = name.split("swin")[1][0] if "swin" in name else "t"
    parts = script.count_parameters(ROOT / "configs" / f"{name}.yaml")
    assert sum(parts.values()) == BASELINES[size] + ADDED[name]


def test_no_configuration_on_imagenet_vid_is_left_out_of_the_formulas():
    files = {p.relative_to(ROOT / "configs").with_suffix("").as_posix() for p in (ROOT / "configs").rglob("*.yaml")
             if "studies" not in p.parts}
    assert {name for name in files if "vid_" in name and "base_" not in name} - {"vid_mini_stpn"} == set(ADDED)


@pytest.mark.parametrize("size, swin, fpn", [
    ("t", 27_520_698, 2_729_984), ("s", 48_838_602, 2_729_984), ("b", 86_745_016, 2_852_864),
    ("l", 194_998_164, 3_098_624),
])  # fmt: skip
def test_parts_of_the_baselines_are_those_of_detectron2s_modules(size, swin, fpn, script):
    parts = script.count_parameters(ROOT / f"configs/baseline_vid_swin{size}.yaml")
    assert parts == {"backbone": swin, "neck": fpn, "proposal_generator": 593_935, "roi_heads": 14_050_455}


def mask_head(widths, classes, queries):
    """Mask2Former's head by its paper: 256 wide, 8 heads, 3 levels with 4 points, 6 + 9 layers, FFN 1024 and 2048.
    widths: of res2 to res5."""
    norm, attention = 2 * 256, 4 * linear(256, 256)
    deformable = linear(256, 8 * 3 * 4 * 2) + linear(256, 8 * 3 * 4) + 2 * linear(256, 256)
    pixels = 6 * (deformable + linear(256, 1024) + linear(1024, 256) + 2 * norm) + 3 * 256
    pixels += sum(linear(width, 256) + norm for width in widths[1:])  # res3, res4, res5
    pixels += widths[0] * 256 + norm + 9 * 256 * 256 + norm + linear(256, 256)  # the map of stride 4
    layer = 2 * attention + linear(256, 2048) + linear(2048, 256) + 3 * norm
    queries = 2 * queries * 256 + 3 * 256 + norm + linear(256, classes + 1) + 3 * linear(256, 256)
    return pixels, 9 * layer + queries


def test_mask_head_has_the_published_parameters():
    """5.42M and 14.47M, counted on the published model."""
    assert [f"{number / 1e6:.2f}" for number in mask_head((96, 192, 384, 768), 40, 100)] == ["5.42", "14.47"]


@pytest.mark.parametrize("data, classes", [("ytvis19", 40), ("ytvis21", 40), ("ovis", 25)])
@pytest.mark.parametrize("size, d, swin, queries", [("t", 96, 27_520_698, 100), ("l", 192, 195_201_204, 200)])
def test_every_segmenter_has_its_encoders_parameters_and_what_the_formulas_add(
    data, classes, size, d, swin, queries, script
):
    parts = script.count_parameters(ROOT / "configs" / f"baseline_{data}_swin{size}.yaml")
    head = sum(mask_head((d, 2 * d, 4 * d, 8 * d), classes, queries))
    assert {name: number for name, number in parts.items() if number} == {"backbone": swin, "sem_seg_head": head}
    prompted = script.count_parameters(ROOT / "configs" / f"stpn_{data}_swin{size}.yaml")
    assert prompted == {**parts, "prompt_predictor": transformer(d, 7)}


OFFICIAL_TRACKER = 37_459_499  # counted on MixFormer with CvT-21 and score head
UNUSED = {"cvt21": 2 * 384 + linear(384, 1000)}  # ImageNet's last norm and classifier, which it keeps and never uses
TRACKER_PREDICTORS = {"cvt21": transformer(64, 7, 384), "cvt21_1k": transformer(64, 7, 384),
                      "cvtw24": transformer(192, 7, 1024)}  # fmt: skip


def cvt(widths, depths):
    """Patch embeddings with LayerNorm; a block: 2 LayerNorms, 3 depth-wise 3x3 (their normalisations are frozen), 4
    linear layers, MLP of ratio 4."""
    inputs = zip((3, *widths), widths, depths, (49, 9, 9))
    return sum(before * d * kernel + 3 * d + depth * (4 * d + 27 * d + 4 * linear(d, d) + linear(d, 4 * d)
                                                     + linear(4 * d, d)) for before, d, depth, kernel in inputs)


def corner_head(width, channels=384, *, frozen):
    """Two towers of four 3x3 convolutions with batch normalisation, and a last one of 1x1."""
    widths = [width, *(channels // 2**i for i in range(4))]
    tower = sum(linear(9 * before, after) + (0 if frozen else 2 * after) for before, after in zip(widths, widths[1:]))
    return 2 * (tower + linear(widths[-1], 1))


def score_head(d):
    """A token, two attentions of four linear layers each, three LayerNorms, three linear layers."""
    return d + 8 * linear(d, d) + 3 * 2 * d + 2 * linear(d, d) + linear(d, 1)


@pytest.mark.parametrize("size, widths, depths", [
    ("cvt21", (64, 192, 384), (1, 4, 16)), ("cvt21_1k", (64, 192, 384), (1, 4, 16)),
    ("cvtw24", (192, 768, 1024), (2, 2, 12)),
])  # fmt: skip
def test_every_tracker_has_its_encoders_parameters_and_what_the_formulas_add(size, widths, depths, script):
    for stage in ("", "_score"):
        parts = {"backbone": cvt(widths, depths), "box_head": corner_head(widths[-1], frozen=bool(stage))}
        if stage:
            parts["score_branch"] = score_head(widths[-1])
        assert script.count_parameters(ROOT / f"configs/baseline_got10k_{size}{stage}.yaml") == parts
        prompted = script.count_parameters(ROOT / f"configs/stpn_got10k_{size}{stage}.yaml")
        assert prompted == {**parts, "prompt_predictor": TRACKER_PREDICTORS[size]}


def test_the_tracker_has_the_published_parameters_but_for_two_unused_layers(script):
    parts = script.count_parameters(ROOT / "configs/baseline_got10k_cvt21_score.yaml")
    assert UNUSED["cvt21"] == 385_000 + 768
    assert sum(parts.values()) + UNUSED["cvt21"] == OFFICIAL_TRACKER


def test_what_prompts_add_to_a_tracker():
    """The authors' predictor at CvT's widths, and ours with its norms and FFN."""
    with torch.device("meta"):
        for d, support, released, ours in ((64, 384, 41_728, 44_240), (192, 1024, 346_368, 366_192)):
            for name, number in (("ReleasedAttentionPredictor", released), ("TransformerPredictor", ours)):
                built = PROMPT_PREDICTOR_REGISTRY.get(name)(support_width=support, prompt_widths=(d,), num_prompts=7)
                assert sum(p.numel() for p in built.parameters()) == number
    assert set(TRACKER_PREDICTORS.values()) == {44_240, 366_192}


@pytest.mark.parametrize("name, prompts, counted", [
    ("ReleasedAttentionPredictor", 5, {96: 111_552, 128: 197_888, 192: 444_288}),
    ("ReleasedAttentionPredictor", 7, {96: 111_744, 128: 198_144, 192: 444_672}),
    ("ReleasedTopKPredictor", 5, {96: 73_824, 128: 131_200, 192: 295_104}),
    ("TransformerPredictor", 7, {96: 117_048}),
    ("MixerPredictor", 7, {96: 66_726}),
])  # fmt: skip
def test_predictors_have_the_parameters_counted_on_the_published_ones(name, prompts, counted):
    formula = {"ReleasedAttentionPredictor": attention, "ReleasedTopKPredictor": top_k,
               "TransformerPredictor": transformer, "MixerPredictor": mixer}[name]  # fmt: skip
    for d, number in counted.items():
        with torch.device("meta"):
            built = PROMPT_PREDICTOR_REGISTRY.get(name)(support_width=8 * d, prompt_widths=(d,), num_prompts=prompts)
        assert sum(p.numel() for p in built.parameters()) == number == formula(d, prompts)


def test_the_papers_three_figures_are_met():
    """As printed in its Figure 4, in millions."""
    names = ("baseline_vid_swint", "stpn_vid_swint", "stpn_vid_swint_mixer")
    assert [f"{(BASELINES['t'] + ADDED[name]) / 1e6:.2f}" for name in names] == ["44.90", "45.01", "44.96"]
    # The released modules: the first rounds to the same, the second was cut off.
    assert [BASELINES["t"] + number(96, 5) for number in (attention, top_k)] == [45_006_624, 44_968_896]


def test_the_page_of_all_configurations_is_up_to_date(script):
    page = (ROOT / "configs/README.md").read_text(encoding="utf-8")
    assert page == script.table(), "run: python projects/STPN/config_table.py > configs/README.md"
    files = {path.relative_to(script.CONFIGS).as_posix() for path in script.CONFIGS.rglob("*.yaml")
             if "studies" not in path.parts}
    missing = {name for name in files if f"`{name}`" not in page}
    assert {name for name in missing if "base" not in Path(name).stem.split("_")} == set()
