"""convert_weights.py on encoders: every source's own names and shapes, random weights, the source's own module."""

import hashlib
import logging
import os
import pickle
import socket
import time
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest
import safetensors
import timm
import torch
import torch.nn.functional as F
from detectron2.modeling.backbone.swin import SwinTransformer
from load_script import load_script

from stpn.encoders import PromptedSwin
from stpn.engine.checkpoint import load_weights
from stpn.engine.convert import swin
from stpn.engine.weight_names import to_model_names
from stpn.errors import run_script

ROOT = Path(__file__).parents[2]
TINY = {"embed_dim": 8, "depths": (2, 1, 2, 2), "num_heads": (1, 1, 2, 2), "window_size": 7}
SWIN_T = {"embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24), "window_size": 7}


@pytest.fixture
def convert(tmp_path, capsys):
    """convert(source, *options, sizes=TINY) -> (exit code, output text). Writes tmp_path/ours.safetensors."""
    path = ROOT / "projects" / "STPN" / "convert_weights.py"
    script = load_script(path)

    def run(source, *options, sizes=TINY, output="ours.safetensors"):
        if isinstance(source, dict):
            torch.save(source, tmp_path / "source.pth")
            source = tmp_path / "source.pth"
        config = ROOT / "configs" / "stpn_vid_swint.yaml"
        arguments = ["--config-file", str(config), str(source), str(tmp_path / output)]
        overrides = [str(x) for key, value in sizes.items() for x in (f"MODEL.SWIN.{key.upper()}", value)]
        with pytest.raises(SystemExit) as end:
            run_script(lambda: script.main([*arguments, *map(str, options), *overrides]))
        return end.value.code, "".join(capsys.readouterr())

    return run


def loaded(file, sizes=TINY):
    """A fresh encoder with the file's weights -> (encoder, names that were not in the file)."""
    model = PromptedSwin(**sizes).eval()
    return model, load_weights(model, file, scope="model", allow_partial=True).missing


def assert_same_maps(ours, theirs, size=(75, 107), norms=True):
    """Four maps to 1e-4. norms: the reference has output norms of its own; else ours are fresh."""
    picture = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        maps = theirs(picture)
        maps = list(maps.values()) if isinstance(maps, dict) else maps
        if not norms:
            maps = [F.layer_norm(y, y.shape[-1:]).permute(0, 3, 1, 2) for y in maps]
        for a, b in zip(ours(picture).values(), maps, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


# ---- Microsoft -------------------------------------------------------------------------------------


def microsoft_shapes(sizes, *, detector):
    """The names in Microsoft's releases, written out. Classifiers store masks for 224 pixels (the last stage's map is
    one window there and has none), a final norm and a head; detectors a norm for each output instead."""
    width, window = sizes["embed_dim"], sizes["window_size"]
    n = window ** 2
    shapes = {"patch_embed.proj.weight": (width, 3, 4, 4), "patch_embed.proj.bias": (width,),
              "patch_embed.norm.weight": (width,), "patch_embed.norm.bias": (width,)}
    for i, (depth, heads) in enumerate(zip(sizes["depths"], sizes["num_heads"])):
        c = width * 2 ** i
        for j in range(depth):
            block = {"norm1.weight": (c,), "norm1.bias": (c,),
                     "attn.relative_position_bias_table": ((2 * window - 1) ** 2, heads),
                     "attn.relative_position_index": (n, n),
                     "attn.qkv.weight": (3 * c, c), "attn.qkv.bias": (3 * c,),
                     "attn.proj.weight": (c, c), "attn.proj.bias": (c,),
                     "norm2.weight": (c,), "norm2.bias": (c,),
                     "mlp.fc1.weight": (4 * c, c), "mlp.fc1.bias": (4 * c,),
                     "mlp.fc2.weight": (c, 4 * c), "mlp.fc2.bias": (c,)}
            if j % 2 and i < 3 and not detector:
                block = {"attn_mask": ((56 // 2 ** i // window) ** 2, n, n), **block}
            shapes |= {f"layers.{i}.blocks.{j}.{name}": shape for name, shape in block.items()}
        if i < 3:
            shapes |= {f"layers.{i}.downsample.reduction.weight": (2 * c, 4 * c),
                       f"layers.{i}.downsample.norm.weight": (4 * c,), f"layers.{i}.downsample.norm.bias": (4 * c,)}
        if detector:
            shapes |= {f"norm{i}.weight": (c,), f"norm{i}.bias": (c,)}
    if not detector:
        shapes |= {"norm.weight": (c,), "norm.bias": (c,), "head.weight": (1000, c), "head.bias": (1000,)}
    return shapes


def random_weights(shapes, window=7):
    g = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("relative_position_index"):
            cells = torch.cartesian_prod(torch.arange(window), torch.arange(window))
            pairs = cells[:, None] - cells[None] + window - 1
            weights[name] = pairs[..., 0] * (2 * window - 1) + pairs[..., 1]
            continue
        value = torch.randn(shape, generator=g)
        one = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        weights[name] = value / shape[-1] ** 0.5 if len(shape) > 1 and "table" not in name else one + 0.2 * value
    return weights


def detectron2s(weights, sizes=TINY):
    """detectron2's Swin, whose names are Microsoft's, with the tensors as they are."""
    model = SwinTransformer(**sizes, out_indices=(0, 1, 2, 3)).eval()
    missing, _ = model.load_state_dict(weights, strict=False)
    assert all(name.startswith("norm") for name in missing)
    return model


def test_every_tensor_of_microsofts_swin_tiny_classifier(convert, tmp_path):
    shapes = microsoft_shapes(SWIN_T, detector=False)
    buffers = [name for name in shapes if name.endswith(("attn_mask", "relative_position_index"))]
    # 28,288,354 is Swin-T's published number of parameters: the list of names is complete.
    assert sum(torch.Size(s).numel() for n, s in shapes.items() if n not in buffers) == 28_288_354
    assert len(buffers) == 12 + 5 and shapes["layers.2.blocks.5.attn_mask"] == (4, 49, 49)
    narrow = {**SWIN_T, "embed_dim": 24}  # the same names; the files are 16 times smaller
    weights = random_weights(microsoft_shapes(narrow, detector=False))
    assert weights.keys() == shapes.keys()
    code, text = convert({"model": weights}, sizes=narrow)
    assert code == 0, text
    digest = hashlib.sha256((tmp_path / "source.pth").read_bytes()).hexdigest()
    assert f"read source.pth: microsoft, {len(shapes)} tensors, SHA-256 {digest}\n" in text
    assert "converted 169 tensors: backbone\n" in text
    assert f"skipped 17, follow from the window size: {', '.join(buffers)}\n" in text
    assert "skipped 4, the classifier's own: backbone.norm.weight, backbone.norm.bias, backbone.head.weight" in text
    assert "left to start fresh: backbone.norm0.weight" in text and "differ from detectron2's SwinTransformer" in text
    ours, missing = loaded(tmp_path / "ours.safetensors", narrow)
    assert missing == [f"norm{i}.{kind}" for i in range(4) for kind in ("weight", "bias")]
    assert_same_maps(ours, detectron2s(weights, narrow))
    with safetensors.safe_open(tmp_path / "ours.safetensors", "pt") as file:
        metadata = file.metadata()
    assert (metadata["sha256"], metadata["source"], metadata["kind"]) == (digest, "source.pth", "microsoft")
    assert metadata["part"] == "backbone" and "stpn_vid_swint.yaml MODEL.SWIN.EMBED_DIM 24" in metadata["config"]


def detector_heads(cascade):
    """What else is in Microsoft's Mask R-CNN and Cascade Mask R-CNN, by first and last names of each part."""
    heads = {f"neck.{kind}_convs.{i}.conv.{p}": (4,) for kind in ("lateral", "fpn") for i in range(4)
             for p in ("weight", "bias")}
    heads |= {f"rpn_head.{name}.{p}": (4,) for name in ("rpn_conv", "rpn_cls", "rpn_reg") for p in ("weight", "bias")}
    box = {f"{name}.{p}": (4,) for name in ("fc_cls", "fc_reg", "shared_fcs.0") for p in ("weight", "bias")}
    box |= {"shared_convs.0.conv.weight": (4,), "shared_convs.0.bn.running_mean": (4,)} if cascade else {
        "shared_fcs.1.weight": (4,), "shared_fcs.1.bias": (4,)}
    for stage in ("0.", "1.", "2.") if cascade else ("",):
        heads |= {f"roi_head.bbox_head.{stage}{name}": shape for name, shape in box.items()}
        heads |= {f"roi_head.mask_head.{stage}conv_logits.weight": (4,)}
    return heads


@pytest.mark.parametrize("cascade", [False, True], ids=["mask_rcnn", "cascade"])
def test_the_encoder_of_microsofts_coco_detectors(convert, tmp_path, cascade):
    encoder = random_weights(microsoft_shapes(TINY, detector=True))
    rest = random_weights(detector_heads(cascade))
    source = {"state_dict": {**{f"backbone.{name}": v for name, v in encoder.items()}, **rest}, "meta": {"epoch": 36}}
    code, text = convert(source)
    assert code == 0 and "converted 112 tensors" in text and "fresh" not in text, text
    assert all(name in text for name in rest)  # nothing is left out silently
    ours, missing = loaded(tmp_path / "ours.safetensors")
    assert missing == []
    assert_same_maps(ours, detectron2s(encoder))
    code, text = convert(source, "--part", "model", "--overwrite")
    assert code == 2 and ("cascade" if cascade else "was made with another configuration") in text


# ---- timm ------------------------------------------------------------------------------------------


def timms(**options):
    torch.manual_seed(0)
    model = timm.create_model("swin_tiny_patch4_window7_224", always_partition=True, **TINY, **options).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return model


@pytest.mark.parametrize("features_only", [False, True])
@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"state_dict": {f"module.{k}": v for k, v in w.items()}}],
                         ids=["plain", "wrapped"])
def test_a_file_of_timms(convert, tmp_path, features_only, wrap):
    theirs = timms(features_only=features_only)
    code, text = convert(wrap(theirs.state_dict()))
    assert code == 0 and "source.pth: timm" in text and "differ from timm's own module by at most" in text, text
    assert ("skipped" not in text) == features_only  # else its norm and its head
    maps = theirs if features_only else lambda x: [y.permute(0, 2, 3, 1) for y in theirs.forward_intermediates(
        x, intermediates_only=True)]
    assert_same_maps(loaded(tmp_path / "ours.safetensors")[0], maps, size=(224, 224), norms=False)


@pytest.mark.parametrize("name", ["tiny_patch4_window7_224.ms_in1k", "small_patch4_window7_224",
                                  "base_patch4_window7_224.ms_in22k", "large_patch4_window7_224",
                                  "base_patch4_window12_384.ms_in22k_ft_in1k"])
def test_timms_models_by_name(convert, tmp_path, monkeypatch, name):
    """As timm would give them, but for random weights and a width of 8 or 16: depths, windows and names are real."""
    create, made = timm.create_model, []

    def random_instead_of_downloaded(name, pretrained, **options):
        torch.manual_seed(0)
        heads = (1, 2, 2, 4)
        made.append(create(name, pretrained=False, embed_dim=8, num_heads=heads, **options))
        for p in made[0].parameters():
            torch.nn.init.normal_(p, std=0.2)
        return made[0]

    monkeypatch.setattr(huggingface_hub, "file_exists", lambda *_: True)
    monkeypatch.setattr(timm, "create_model", random_instead_of_downloaded)
    sizes = {"embed_dim": 8, "depths": (2, 2, 6 if "tiny" in name else 18, 2), "num_heads": (1, 2, 2, 4),
             "window_size": 12 if "window12" in name else 7}
    code, text = convert(f"timm:swin_{name}", sizes=sizes)
    assert code == 0 and f"read timm:swin_{name}: timm" in text and "timm's own module" in text, text
    maps = lambda x: [y.permute(0, 2, 3, 1) for y in made[0].forward_intermediates(x, intermediates_only=True)]  # noqa: E731
    assert_same_maps(loaded(tmp_path / "ours.safetensors", sizes)[0], maps, size=(32 * sizes["window_size"],) * 2,
                     norms=False)


def test_without_a_network_timm_is_one_line(convert, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    code, text = convert("timm:swin_tiny_patch4_window7_224.ms_in1k", sizes={})
    assert code == 2 and text.count("\n") == 1 and not (tmp_path / "ours.safetensors").exists()
    assert "timm could not get these weights" in text and "it needs a network, or fetch the file elsewhere" in text


def test_a_network_that_does_not_answer_is_asked_once(convert, tmp_path, monkeypatch, caplog):
    """It took most of a minute and ten lines of the hub's before ours, which was cut inside a word."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"  # of nobody, once it is closed
    for place in (huggingface_hub.constants, huggingface_hub.hf_api.api):
        monkeypatch.setattr(place, "ENDPOINT" if place is huggingface_hub.constants else "endpoint", address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "propagate", True)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited to ask again"))
    code, text = convert("timm:swin_tiny_patch4_window7_224.ms_in1k", sizes={})
    assert code == 2 and text.count("\n") == 1 and "its hub does not answer, ConnectError); it needs a network" in text
    assert not [record for record in caplog.records if record.name.startswith("huggingface_hub")]


def test_weights_that_timm_has_got_before_need_no_network(convert, tmp_path, monkeypatch):
    """The hub is not asked for what lies in its cache; timm gets it from there."""
    asked = []
    monkeypatch.setattr(huggingface_hub, "file_exists", lambda *_: asked.append(1))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "hub/models--timm--swin_tiny_patch4_window7_224.ms_in1k"
    for name, content in (("refs/main", b"1234"), ("snapshots/1234/model.safetensors", b"no tensors")):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
    code, text = convert("timm:swin_tiny_patch4_window7_224.ms_in1k", sizes={})
    assert code == 2 and not asked and "timm could not get these weights (SafetensorError: " in text


def test_a_long_reason_is_not_cut_inside_a_word(convert, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("incomprehensible " * 20)

    monkeypatch.setattr(huggingface_hub, "file_exists", lambda *_: True)
    monkeypatch.setattr(timm, "create_model", fail)
    code, text = convert("timm:swin_tiny_patch4_window7_224.ms_in1k", sizes={})
    assert code == 2 and "(RuntimeError: incomprehensible" in text and "incomprehensible ...); it needs" in text


def test_a_name_that_timm_does_not_know_has_its_neighbours(convert):
    code, text = convert("timm:swin_tiny_patch4_window7_244")
    assert code == 2 and "has no Swin of that name; nearest: swin_tiny_patch4_window7_224" in text


# ---- what is refused -------------------------------------------------------------------------------


class Payload:
    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def tiny_weights():
    return random_weights(microsoft_shapes(TINY, detector=True))


def wider():
    return random_weights(microsoft_shapes({**TINY, "embed_dim": 16}, detector=True))


def with_nan():
    weights = tiny_weights()
    weights["layers.2.blocks.0.mlp.fc1.bias"][3] = float("nan")
    return weights


REFUSED = {  # case: (source, options, what the line says)
    "another kind": (tiny_weights, ["--kind", "timm"], "--kind timm, but its names are those of microsoft"),
    "stpn without prompts": (tiny_weights, ["--kind", "stpn"], "take --kind microsoft"),
    "half a file": (lambda: dict(list(tiny_weights().items())[:60]), [],
                    "does not fill the configured backbone (56 matched, 52 missing"),
    "every second tensor": (lambda: dict(list(tiny_weights().items())[::2]), [], "missing: backbone.patch_embed"),
    "another width": (wider, [], "(MODEL.SWIN.EMBED_DIM 8 for 16); take the config file for it, or add: "
                                 "MODEL.SWIN.EMBED_DIM 16"),
    "not finite": (with_nan, [], "layers.2.blocks.0.mlp.fc1.bias has 1 of 128 values that are NaN or Inf"),
    "no swin": (lambda: {"layer1.0.conv1.weight": torch.zeros(2)}, [],
                "there is no Swin transformer or CvT in it, only names like layer1.0.conv1.weight; known: timm's Swin"),
    "no tensor": (lambda: {"state_dict": {}}, [], "there are no tensors in it"),
    "position embedding": (lambda: {**tiny_weights(), "absolute_pos_embed": torch.zeros(1, 8, 56, 56)}, [],
                           "gives other results without them: backbone.absolute_pos_embed"),
    "a cut tensor": (lambda: {**tiny_weights(), "layers.3.blocks.1.attn.qkv.bias": torch.zeros(5)}, [],
                     "shape: backbone.layers.3.blocks.1.attn.qkv.bias [5] for [192]"),
    "stds for an encoder": (tiny_weights, ["--box-stds", 0.1, 0.1, 0.2, 0.2], "it needs --part model"),
    "no detector in it": (tiny_weights, ["--part", "model"], "take --part backbone"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line_and_nothing_is_written(convert, tmp_path, case):
    source, options, expected = REFUSED[case]
    code, text = convert(source(), *options)
    assert code == 2 and text.count("\n") == 1 and expected in text and "source.pth" in text, text
    assert [path.name for path in tmp_path.iterdir()] == ["source.pth"]


def test_a_folder_as_the_source_is_called_a_folder(convert, tmp_path):
    """It was "unknown kind of weight file ''"."""
    (tmp_path / "mine").mkdir()
    code, text = convert(tmp_path / "mine")
    assert code == 2 and "mine is a folder; name a weight file in it (there is none)" in text
    (tmp_path / "mine/swin.pth").write_bytes(b"")
    code, text = convert(tmp_path / "mine")
    assert code == 2 and "mine is a folder; name a weight file in it: swin.pth" in text and text.count("\n") == 1


def test_a_file_with_code_is_refused_and_nothing_is_run(convert, tmp_path):
    (tmp_path / "source.pth").write_bytes(pickle.dumps({"model": Payload(tmp_path / "probe")}))
    code, text = convert(tmp_path / "source.pth")
    assert code == 2 and text.count("\n") == 1
    torch.save({"model": tiny_weights(), "hook": Payload(tmp_path / "probe")}, tmp_path / "source.pth")
    code, text = convert(tmp_path / "source.pth")
    assert code == 2 and "posix.mkdir" in text and "nothing was run" in text and text.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["source.pth"]


def test_an_output_that_is_there_stays_unless_overwrite_is_given(convert, tmp_path):
    (tmp_path / "ours.safetensors").write_bytes(b"precious")
    code, text = convert(tiny_weights())
    assert code == 2 and "exists; name another file, or replace it with --overwrite" in text
    assert (tmp_path / "ours.safetensors").read_bytes() == b"precious"
    code, text = convert(wider(), "--overwrite")  # refused for its content: the old file stays, too
    assert code == 2 and (tmp_path / "ours.safetensors").read_bytes() == b"precious"
    code, text = convert(tiny_weights(), "--overwrite")
    assert code == 0 and loaded(tmp_path / "ours.safetensors")[1] == []


@pytest.mark.parametrize("output, expected", [("ours.pth", "expected a name that ends in .safetensors"),
                                              ("none/ours.safetensors", "there is no folder"),
                                              ("folder.safetensors", "is a folder")])
def test_outputs_that_cannot_be_are_refused_before_the_source_is_read(convert, tmp_path, output, expected):
    (tmp_path / "folder.safetensors").mkdir()
    code, text = convert(tmp_path / "missing.pth", output=output)
    assert code == 2 and expected in text and text.count("\n") == 1


def test_the_source_is_never_overwritten(convert, tmp_path):
    assert convert(tiny_weights())[0] == 0
    before = (tmp_path / "ours.safetensors").read_bytes()
    code, text = convert(tmp_path / "ours.safetensors", "--overwrite")
    assert code == 2 and "is the source itself" in text and (tmp_path / "ours.safetensors").read_bytes() == before


@pytest.mark.parametrize("source", ["microsoft", "timm"])
def test_a_wrong_translation_is_caught_by_the_forward_and_nothing_is_written(convert, tmp_path, monkeypatch, source):
    def exchange_norms(weights):
        weights = to_model_names(weights, ("backbone.x",))
        one, two = (f"backbone.layers.2.blocks.1.norm{i}.weight" for i in (1, 2))
        return {**weights, one: weights[two], two: weights[one]}

    monkeypatch.setattr(swin, "encoder_names", exchange_norms)
    weights = tiny_weights() if source == "microsoft" else timms().state_dict()
    code, text = convert(weights)
    assert code == 2 and "after conversion the features differ from" in text and text.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["source.pth"]


def test_a_failure_while_writing_leaves_nothing(convert, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, text = convert(tiny_weights())
    assert code == 1 and "no space" in text and [path.name for path in tmp_path.iterdir()] == ["source.pth"]
