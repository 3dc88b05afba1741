"""convert_weights.py on CvT and MixFormer: their own names and shapes, random weights, the recorded outputs."""

import re
import sys
import types
from pathlib import Path

import pytest
import safetensors.torch
import torch
from load_script import load_script
from tiny_vot import vot_model
from tracker_names import CVT21, TINY, cvt_shapes, mixformer_shapes, random_weights

from stpn.engine.checkpoint import load_weights, read_checkpoint
from stpn.engine.config_file import load_config
from stpn.engine.model import build_model
from stpn.errors import run_script

ROOT = Path(__file__).parents[2]
SIZES = {"MODEL.CVT.WIDTHS": [16, 32, 64], "MODEL.CVT.DEPTHS": [1, 2, 3], "MODEL.CVT.NUM_HEADS": [1, 2, 4],
         "MODEL.MIXFORMER.HEAD_DIM": 64, "INPUT.TRACKING.SEARCH_SIZE": 64, "INPUT.TRACKING.TEMPLATE_SIZE": 32,
         "MODEL.STPN.PREDICTOR.NUM_HEADS": 4}  # fmt: skip
CLASSIFIER, STAGE1, STAGE2 = "stpn_got10k_cvt21", "baseline_got10k_cvt21", "baseline_got10k_cvt21_score"


def counted(shapes):
    """Numbers of parameters, as MixFormer counts them: statistics and frozen normalisations are none."""
    frozen = re.compile(r"backbone\..*\.bn\.|box_head\.conv\d_..\.1\.")
    return sum(torch.Size(shape).numel() for name, shape in shapes.items() if not frozen.match(name))


@pytest.fixture
def convert(tmp_path, capsys):
    """convert(source, *options, config=name, sizes=...) -> (exit code, output text). Writes ours.safetensors."""
    script = load_script(ROOT / "projects" / "STPN" / "convert_weights.py")

    def run(source, *options, config, sizes=SIZES):
        if isinstance(source, dict):
            torch.save(source, tmp_path / "source.pth")
            source = tmp_path / "source.pth"
        arguments = ["--config-file", str(ROOT / "configs" / f"{config}.yaml"), str(source),
                     str(tmp_path / "ours.safetensors")]
        overrides = [str(x) for pair in sizes.items() for x in pair]
        with pytest.raises(SystemExit) as end:
            run_script(lambda: script.main([*arguments, *options, *overrides]))
        return end.value.code, "".join(capsys.readouterr())

    return run


def tiny_mixformer(**options):
    return random_weights(mixformer_shapes(**TINY, channels=64, **options))


def tiny_cvt(depths=(1, 2, 3)):
    return random_weights(cvt_shapes(TINY["widths"], depths))


def test_the_written_out_names_are_those_of_the_recorded_mixformer_and_count_as_published(fixtures_dir):
    recorded = torch.load(fixtures_dir / "vot" / "tiny" / "state_dict.pt", weights_only=True)
    assert {name: tuple(value.shape) for name, value in recorded.items()} == mixformer_shapes(**TINY, channels=64)
    assert counted(mixformer_shapes(**CVT21, channels=384)) == 37_459_499


@pytest.mark.parametrize("config, widths, depths, left", [
    (STAGE2, *CVT21.values(), []),
    ("baseline_got10k_cvtw24_score", (192, 768, 1024), (2, 2, 20), range(12, 20)),
])  # fmt: skip
def test_trackers_of_full_size_have_the_published_names_and_shapes(config, widths, depths, left):
    cfg = load_config(ROOT / "configs" / f"{config}.yaml", ["MODEL.DEVICE", "meta"])
    with torch.device("meta"):
        ours = {name: tuple(value.shape) for name, value in build_model(cfg).state_dict().items()}
    theirs = mixformer_shapes(widths, depths, channels=384)
    assert ours.items() <= theirs.items()
    surplus = [re.sub(r"(stage2\.blocks\.\d+)\..*", r"\1", name) for name in theirs if name not in ours]
    assert {name for name in surplus if "blocks" in name} == {f"backbone.stage2.blocks.{i}" for i in left}
    assert [name for name in surplus if "blocks" not in name] == [
        "backbone.norm.weight", "backbone.norm.bias", "backbone.head.weight", "backbone.head.bias"]


def test_converted_mixformer_gives_its_recorded_boxes_and_scores(convert, tmp_path, fixtures_dir):
    folder = fixtures_dir / "vot" / "tiny"
    source = {"net": torch.load(folder / "state_dict.pt", weights_only=True), "epoch": 40, "net_type": "MixFormer"}
    code, text = convert(source, config=STAGE2)
    assert code == 0 and "source.pth: mixformer" in text and "tensors: model" in text, text
    assert "skipped 4, the classifier's own: backbone.norm.weight, backbone.norm.bias, backbone.head" in text
    assert "on two frames of noise: every output finite (the encoder, the corner head, the score head)" in text
    model = vot_model("MODEL.STPN.ENABLED", "False", "MODEL.MIXFORMER.HEAD_FREEZE_BN", "True").eval()
    report = load_weights(model, tmp_path / "ours.safetensors")
    assert (report.missing, report.unexpected, report.mismatched) == ([], [], [])
    case = torch.load(folder / "joint.pt", weights_only=True)
    with torch.no_grad():
        templates = model.backbone.embed_templates(torch.stack([case["template"], case["online_template"]], 1))
        search = model.backbone(case["search"], templates=templates)["res4"]
        boxes = model.box_head(search)
        scores = model.score(search, templates, boxes)
    torch.testing.assert_close(boxes, case["pred_xyxy"], atol=1e-4, rtol=0)
    torch.testing.assert_close(scores, case["pred_scores"].sigmoid(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"net": w}, lambda w: {"net": {f"module.{k}": v for k, v in
                                                                                       w.items()}}])
def test_mixformer_plain_and_in_its_training_files(convert, tmp_path, wrap):
    weights = tiny_mixformer()
    code, text = convert(wrap(weights), config=STAGE2)
    assert code == 0, text
    ours = safetensors.torch.load_file(tmp_path / "ours.safetensors")
    used = {name: value for name, value in weights.items() if not name.startswith(("backbone.norm.", "backbone.head."))}
    assert ours.keys() == used.keys() and all(torch.equal(ours[name], used[name]) for name in used)


def test_a_training_file_with_its_settings_is_read_without_its_classes(convert, tmp_path, monkeypatch):
    """It stores objects of its own classes beside the weights, and is called .pth.tar."""
    content = {"net": tiny_mixformer(), "epoch": 40}
    for module, name in (("settings", "Settings"), ("stats", "AverageMeter"), ("local", "EnvironmentSettings")):
        home = types.ModuleType(f"lib.train.admin.{module}")
        kind = type(name, (), {"__module__": home.__name__})
        setattr(home, name, kind)
        monkeypatch.setitem(sys.modules, home.__name__, home)
        content[module] = kind()
        content[module].__dict__ |= {"batchsize": 32, "device": torch.device("cuda:0")}
    for parent in ("lib", "lib.train", "lib.train.admin"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    torch.save(content, tmp_path / "MixFormer_ep0040.pth.tar")
    monkeypatch.undo()
    assert read_checkpoint(tmp_path / "MixFormer_ep0040.pth.tar")["settings"]["batchsize"] == 32
    code, text = convert(tmp_path / "MixFormer_ep0040.pth.tar", config=STAGE2)
    assert code == 0 and "lib" not in sys.modules, text


def test_a_first_stages_mixformer_fits_the_first_stages_config_and_says_what_it_lacks(convert, tmp_path):
    code, text = convert(tiny_mixformer(score=False), config=STAGE1)
    assert code == 0 and "there is no score head in it (MixFormer's first stage)" in text, text
    ours = vot_model("MODEL.STPN.ENABLED", "False", "MODEL.MIXFORMER.SCORE_HEAD", "False")
    assert load_weights(ours, tmp_path / "ours.safetensors").missing == []


def test_every_tensor_of_a_classifier_is_converted_or_named(convert, tmp_path):
    weights = tiny_cvt()
    code, text = convert(weights, config=CLASSIFIER)
    assert code == 0 and "source.pth: cvt" in text and "tensors: backbone\n" in text, text
    ours = safetensors.torch.load_file(tmp_path / "ours.safetensors")
    assert all(torch.equal(ours[name], weights[name.removeprefix("backbone.")]) for name in ours)
    left = [f"backbone.{name}" for name in weights if f"backbone.{name}" not in ours]
    assert len(left) == 1 + 4 + 3 * 6 and all(re.search(rf"[ ,]{re.escape(name)}[,\n]", text) for name in left)
    assert "skipped 1, the class token, which trackers have not: backbone.stage2.cls_token\n" in text
    assert "skipped 18, counters, not weights: " in text and "skipped 4, the classifier's own: " in text
    assert "as no weight shows it: MODEL.CVT.NUM_HEADS [1, 2, 4]" in text and "as published" not in text


def test_other_attention_heads_than_the_published_are_said(convert):
    """They have 64 channels each; no shape in a file shows it."""
    sizes = {**SIZES, "MODEL.CVT.WIDTHS": [64, 64, 128], "MODEL.CVT.DEPTHS": [1, 1, 1]}
    code, text = convert(random_weights(cvt_shapes((64, 64, 128), (1, 1, 1))), config=CLASSIFIER, sizes=sizes)
    assert code == 0 and "64 channels there, which would be MODEL.CVT.NUM_HEADS [1, 1, 2]\n" in text, text


def test_the_last_blocks_of_a_deeper_classifier_are_left_out_by_name(convert, tmp_path):
    """CvT-W24 has 20 blocks, MixFormer-L the first 12."""
    weights = tiny_cvt((1, 2, 5))
    code, text = convert(weights, config=CLASSIFIER)
    assert code == 0 and "skipped 62, blocks beyond MODEL.CVT.DEPTHS; MixFormer leaves them out as well: " in text, text
    assert all(f"backbone.{name}" in text for name in weights if re.match(r"stage2\.blocks\.[34]\.", name))
    ours = safetensors.torch.load_file(tmp_path / "ours.safetensors")
    assert {int(name.split(".")[3]) for name in ours if ".stage2.blocks." in name} == {0, 1, 2}
    name = "stage2.blocks.2.mlp.fc2.weight"
    assert torch.equal(ours[f"backbone.{name}"], weights[name])


def cut(weights, **changes):
    return {name: changes.get(name.replace(".", "_"), value) for name, value in weights.items()}


def without(weights, text):
    return {name: value for name, value in weights.items() if text not in name}


REFUSED = {  # case: (source, config, options, what the line says)
    "no score head": (lambda: tiny_mixformer(score=False), STAGE2, [], "there is no score head in it (score_branch.*)"),
    "a score head": (tiny_mixformer, STAGE1, [], "add: MODEL.MIXFORMER.SCORE_HEAD True"),
    "prompts wanted": (tiny_mixformer, "stpn_got10k_cvt21_score", [], "add: MODEL.STPN.ENABLED False"),
    "another width": (lambda: random_weights(mixformer_shapes((16, 32, 48), (1, 2, 3), channels=64)), STAGE2, [],
                      "MODEL.CVT.WIDTHS [16, 32, 64] for [16, 32, 48]"),
    "a deeper tracker": (lambda: random_weights(mixformer_shapes((16, 32, 64), (1, 2, 4), channels=64)), STAGE2, [],
                         'add: MODEL.CVT.DEPTHS "[1, 2, 4]"'),
    "a shallower classifier": (lambda: tiny_cvt((1, 2, 2)), CLASSIFIER, [], 'add: MODEL.CVT.DEPTHS "[1, 2, 2]"'),
    "another head": (lambda: random_weights(mixformer_shapes(**TINY, channels=32)), STAGE2, [],
                     "add: MODEL.MIXFORMER.HEAD_DIM 32"),
    "a wrong shape": (lambda: cut(tiny_mixformer(), box_head_conv5_tl_bias=torch.zeros(2)), STAGE2, [],
                      "shape: box_head.conv5_tl.bias [2] for [1]"),
    "a missing tensor": (lambda: without(tiny_mixformer(), "box_head.conv2_br.1.running_var"), STAGE2, [],
                         "missing: box_head.conv2_br.1.running_var"),
    "a surplus layer": (lambda: {**tiny_mixformer(), "box_head.conv6_tl.weight": torch.zeros(1)}, STAGE2, [],
                        "gives other results without them: box_head.conv6_tl.weight"),
    "a classifier as a tracker": (tiny_cvt, STAGE2, ["--part", "model"], "take --part backbone"),
    "box stds": (tiny_mixformer, STAGE2, ["--box-stds", "1", "1", "1", "1"], "--box-stds is about Faster R-CNN's"),
    "our own": (lambda: vot_model().state_dict(), STAGE2, [], "give it as MODEL.WEIGHTS"),
    "a Swin's config": (tiny_cvt, "stpn_vid_swint", [], "for PromptedCvT, but MODEL.BACKBONE.NAME is PromptedSwin"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line_and_nothing_is_written(convert, tmp_path, case):
    source, config, options, expected = REFUSED[case]
    code, text = convert(source(), *options, config=config)
    assert code == 2 and text.count("\n") == 1 and expected in text and "source.pth" in text, text
    assert [path.name for path in tmp_path.iterdir()] == ["source.pth"]
