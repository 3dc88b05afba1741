"""Weight files: what they may hold, whose names they use, how a run survives a crash."""

import argparse
import io
import itertools
import logging
import os
import pickle
import re
import resource
import weakref
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from detectron2.checkpoint import PeriodicCheckpointer
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.modeling.backbone.swin import PatchMerging, SwinTransformer
from detectron2.utils import comm
from torch import nn

from stpn.engine.checkpoint import (
    SafeCheckpointer,
    export_safetensors,
    load_weights,
    read_checkpoint,
)
from stpn.engine.config_file import load_config
from stpn.engine.guards import seed_iteration
from stpn.engine.optimizer import build_optimizer
from stpn.engine.safe_pickle import load_pickle
from stpn.errors import InputError, run_script


class Payload:
    """Makes a folder when it is unpickled by an unguarded reader."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


class Detector(nn.Module):
    """The parts of the real one, tiny: a Swin of detectron2 below `backbone`, a neck, a predictor."""

    def __init__(self, classes=3, width=4, predictor=True):
        super().__init__()
        self.backbone = SwinTransformer(embed_dim=width, depths=(2, 1, 1, 1), num_heads=(1, 1, 2, 2))
        self.neck = nn.Conv2d(width, 4, 1)
        self.roi_heads = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, classes))
        if predictor:
            self.prompt_predictor = nn.Linear(4, 4)


def random_weights(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    state = module.state_dict()
    return {
        key: torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
        for key, value in state.items()
    }


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


class Counter:
    """Stands for the trainer: some state that must come back."""

    def __init__(self, iteration=0):
        self.iteration = iteration

    def state_dict(self):
        return {"iteration": self.iteration, "history": [np.float64(0.5), (1, 2)]}

    def load_state_dict(self, state):
        self.iteration = state["iteration"]


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.INFO, logger="stpn")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


# ---- reading files -------------------------------------------------------------------------------


def make_file(path, state):
    if path.suffix == ".safetensors":
        export_safetensors(state, path)
    elif path.suffix == ".pkl":
        arrays = {key: value.numpy() for key, value in state.items()}
        path.write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody"}, protocol=2))
    else:
        torch.save({"model": state}, path, _use_new_zipfile_serialization="old" not in path.stem)
    return path


@pytest.mark.parametrize("name", ["x.pth", "old.pth", "x.safetensors", "x.pkl"])
def test_missing_empty_and_truncated_files_have_three_messages_and_leave_no_state(tmp_path, name):
    model = nn.Linear(30, 30)
    path = tmp_path / name
    checkpointer = SafeCheckpointer(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    texts = []

    def refused():
        with pytest.raises(InputError) as error:
            checkpointer.load(str(path))
        texts.append(str(error.value))

    refused()
    path.write_bytes(b"")
    refused()
    whole = make_file(path, random_weights(model)).read_bytes()
    for part in (0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * part)])
        refused()
    assert ["no such" in texts[0], "empty" in texts[1], "truncated" in texts[2], "truncated" in texts[3]] == [
        True
    ] * 4
    assert all(str(path) in text and "\n" not in text for text in texts)
    assert same(before, model.state_dict())
    path.write_bytes(whole)
    checkpointer.load(str(path))  # the same object works once the file is whole
    assert same(model.state_dict(), random_weights(model))


@pytest.mark.parametrize("name", ["x.pth", "x.pth.tar", "x.safetensors", "x.pkl"])
def test_text_is_not_called_truncated(tmp_path, name):
    path = tmp_path / name
    path.write_text("<html>404 not found</html>")
    with pytest.raises(InputError, match="is not a .* weight file .*<html>"):
        read_checkpoint(path)


def test_unknown_suffix_and_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="known: .safetensors"):
        read_checkpoint(tmp_path / "x.npz")
    (tmp_path / "d.pth").mkdir()
    with pytest.raises(InputError, match="folder"):
        read_checkpoint(tmp_path / "d.pth")


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", ["x.pkl", "x.pth"])
def test_plain_pickle_with_code_is_refused_and_not_run(tmp_path, name, protocol):
    probe = tmp_path / "probe"
    content = {"model": {"w": np.zeros(2)}, "x": Payload(probe)}
    (tmp_path / name).write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(InputError) as error:
        read_checkpoint(tmp_path / name)
    assert not probe.exists()
    if name == "x.pkl":
        assert "posix.mkdir" in str(error.value) or "nt.mkdir" in str(error.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_pth_with_code_is_refused_and_not_run(tmp_path, zipped):
    probe = tmp_path / "probe"
    path = tmp_path / "x.pth"
    torch.save(
        {"model": {"w": torch.zeros(2)}, "x": Payload(probe)}, path, _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(InputError, match=r"posix\.mkdir.*nothing was run"):
        read_checkpoint(path)
    assert not probe.exists()


def test_code_inside_a_pickled_tensor_storage_is_refused_and_not_run(tmp_path):
    probe, inner = tmp_path / "probe", io.BytesIO()
    torch.save(Payload(probe), inner)

    class Storage:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (inner.getvalue(),)

    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"w": Storage()}))
    with pytest.raises(InputError, match="mkdir"):
        read_checkpoint(tmp_path / "x.pkl")
    assert not probe.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cnumpy\ndtype\n(N}X\x01\x00\x00\x00aK\x01stb.",  # BUILD with attributes on a stand-in class
        b"cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.",
        b"ccollections\nOrderedDict\n(N}X\x01\x00\x00\x00aK\x01stb.",
        b"cbuiltins\ngetattr\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"Pname\n.",  # persistent id
        b"]q\x00h\x00a.",  # a list that holds itself
        b"}(X\x01\x00\x00\x00acnumpy\nndarray\n)\x81u.",
    ],
)
def test_hand_made_pickles_are_refused(tmp_path, opcodes):
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + opcodes)
    with pytest.raises(InputError):
        read_checkpoint(tmp_path / "x.pkl")


def test_small_pickle_cannot_unfold_into_a_large_object(tmp_path):
    nested = {"w": np.zeros(1)}
    for _ in range(60):
        nested = {"a": nested, "b": nested}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"deep": nested}))
    with open(tmp_path / "x.pkl", "rb") as file:
        content = load_pickle(file)["deep"]
    assert content["a"] is content["b"]


def test_pth_with_numpy_namespace_and_cfgnode_is_read_as_plain_data(tmp_path):
    content = {
        "model": OrderedDict(
            w=nn.Parameter(torch.arange(3.0)), table=np.arange(6, dtype=np.int16).reshape(2, 3).T
        ),
        "best": np.float64(0.5),
        "epoch": np.int64(3),
        "args": argparse.Namespace(lr=0.1, names=["a", "b"]),
        "cfg": CfgNode({"A": {"B": 1}}),
    }
    torch.save(content, tmp_path / "x.pth")
    read = read_checkpoint(tmp_path / "x.pth")
    assert torch.equal(read["model"]["w"], torch.arange(3.0)) and type(read["model"]["w"]) is torch.Tensor
    np.testing.assert_array_equal(read["model"]["table"], np.arange(6).reshape(2, 3).T)
    assert (read["best"], read["epoch"]) == (0.5, 3)
    assert read["args"] == {"lr": 0.1, "names": ["a", "b"]}
    assert read["cfg"] == {"A": {"B": 1}} and type(read["cfg"]) is dict


def test_pth_with_an_unknown_class_names_it(tmp_path):
    torch.save({"model": {"w": torch.zeros(1)}, "reader": re.compile("x")}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"re\._compile"):
        read_checkpoint(tmp_path / "x.pth")
    torch.save({"model": {"w": np.array([{}], dtype=object)}}, tmp_path / "y.pth")
    with pytest.raises(InputError, match="numpy.dtype"):
        read_checkpoint(tmp_path / "y.pth")


def test_allow_list_of_other_libraries_is_neither_used_nor_lost(tmp_path):
    torch.save({"model": {"w": torch.zeros(1)}, "p": Payload(tmp_path / "probe")}, tmp_path / "x.pth")
    with torch.serialization.safe_globals([Payload, (os.mkdir, "posix.mkdir"), (re.compile, "re._compile")]):
        with pytest.raises(InputError):
            read_checkpoint(tmp_path / "x.pth")
        assert Payload in torch.serialization.get_safe_globals()
    assert not (tmp_path / "probe").exists()


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_pkl_of_tensors_and_arrays_equals_what_was_written(tmp_path, protocol):
    generator = np.random.default_rng(0)
    model = {
        "array": generator.normal(size=(3, 4)).astype(np.float32),
        "fortran": np.asfortranarray(generator.normal(size=(3, 4))),
        "big_endian": np.arange(4, dtype=">i4"),
        "half": torch.randn(2, 3).half(),
        "view": torch.arange(12.0).reshape(3, 4)[:, 1:3],
        "parameter": nn.Parameter(torch.ones(2)),
    }
    content = {"model": model, "__author__": "somebody", "n": [1, 2.5, None, True, (b"x", {"y"})]}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    read = read_checkpoint(tmp_path / "x.pkl")
    for name, value in model.items():
        value = value.detach() if isinstance(value, torch.Tensor) else value
        np.testing.assert_array_equal(np.asarray(read["model"][name]), np.asarray(value))
    assert read["n"] == content["n"]


@pytest.mark.parametrize("name", ["x.pth", "x.pkl", "x.safetensors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite_weights_are_refused_by_name(tmp_path, name, value):
    state = {"good": torch.zeros(3), "backbone.bad": torch.tensor([0.0, value])}
    path = tmp_path / name
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        make_file(path, state)
    with pytest.raises(InputError, match=r"backbone\.bad has 1 of 2 values that are NaN or Inf"):
        read_checkpoint(path)


# ---- names and matching ----------------------------------------------------------------------------


def test_plain_checkpoint_loads_and_reports_in_one_line(tmp_path, messages):
    model, weights = Detector(), random_weights(Detector())
    report = load_weights(model, make_file(tmp_path / "x.pth", weights))
    assert same(model.state_dict(), weights)
    assert (report.missing, report.unexpected, report.mismatched, report.fresh) == ([], [], [], [])
    assert f"{len(report.matched)} matched, 0 missing, 0 unexpected" in messages()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: {"model": {f"module.{k}": v for k, v in w.items()}},
        lambda w: {"state_dict": {f"module._orig_mod.{k}": v for k, v in w.items()}, "epoch": 3},
        lambda w: {"model": {k: v * 0 for k, v in w.items()}, "model_ema": w},
        lambda w: {
            "ema_state_dict": {"n_averaged": torch.tensor(3), **{f"module.{k}": v for k, v in w.items()}}
        },
        lambda w: {"ema": {"module": w}, "optimizer": {"state": {}}},
        lambda w: {re.sub("^backbone", "detector.backbone", k): v for k, v in w.items()},
        lambda w: {"model": {re.sub("^backbone", "backbone.bottom_up", k): v for k, v in w.items()}},
        lambda w: {"state_dict": {f"model.{k}": v.numpy() for k, v in w.items()}},
        lambda w: {k: v.double() for k, v in w.items()},
    ],
    ids=[
        "ddp",
        "ddp-compiled",
        "ema",
        "averaged",
        "ema-module",
        "mmtracking",
        "bottom_up",
        "lightning",
        "double",
    ],
)
def test_wrapped_checkpoints_load_like_plain_ones(wrap):
    model, weights = Detector(), random_weights(Detector())
    report = load_weights(model, wrap(weights))
    assert same(model.state_dict(), weights)
    assert not (report.missing or report.unexpected or report.mismatched)


def to_mm_names(name):
    """The table of names in mmdetection's Swin, written backwards by hand."""
    name = name.replace("patch_embed.proj.", "patch_embed.projection.").replace("layers.", "stages.")
    name = name.replace(".attn.", ".attn.w_msa.")
    return name.replace("mlp.fc1", "ffn.layers.0.0").replace("mlp.fc2", "ffn.layers.1")


def mm_merge(x, norm_weight, norm_bias, reduction):
    """Patch merging as mmdetection does it: unfold, normalise, reduce. x (1, H, W, C)."""
    unfolded = nn.functional.unfold(x.permute(0, 3, 1, 2), kernel_size=2, stride=2).transpose(1, 2)
    return nn.functional.layer_norm(unfolded, unfolded.shape[-1:], norm_weight, norm_bias) @ reduction.T


def test_mm_patch_merging_gives_the_same_numbers_after_translation():
    torch.manual_seed(0)
    theirs = {
        "norm.weight": torch.randn(12),
        "norm.bias": torch.randn(12),
        "reduction.weight": torch.randn(6, 12),
    }
    model = nn.Module()
    model.patch_embed = nn.Linear(2, 2)
    model.layers = nn.ModuleList([nn.Module()])
    model.layers[0].downsample = PatchMerging(3)
    source = {f"stages.0.downsample.{k}": v for k, v in theirs.items()}
    source["stages.0.blocks.0.attn.w_msa.qkv.weight"] = torch.zeros(1)  # what makes it mmdetection's
    load_weights(model, source, allow_partial=True)
    x = torch.randn(1, 4, 6, 3)
    ours = model.layers[0].downsample(x.flatten(1, 2), 4, 6)
    torch.testing.assert_close(ours, mm_merge(x, *theirs.values()))


def test_mm_names_reach_every_tensor():
    model = Detector()
    weights = {
        k.removeprefix("backbone."): v for k, v in random_weights(model).items() if k.startswith("backbone.")
    }
    source = {to_mm_names(name): value for name, value in weights.items()}
    report = load_weights(model, {"state_dict": source}, scope="backbone")
    assert report.mismatched == [] and report.unexpected == []
    assert [name for name in report.missing if name.startswith("backbone.")] == []
    assert torch.equal(
        model.backbone.layers[1].blocks[0].mlp.fc2.weight, weights["layers.1.blocks.0.mlp.fc2.weight"]
    )
    assert not torch.equal(
        model.backbone.layers[0].downsample.reduction.weight, weights["layers.0.downsample.reduction.weight"]
    )


def test_recorded_mm_backbone_gives_its_recorded_output(fixtures_dir):
    recorded = read_checkpoint(fixtures_dir / "prompting" / "shallow_att.pt")
    depths, num_heads = recorded["meta"]["depths"], recorded["meta"]["num_heads"]
    model = SwinTransformer(embed_dim=16, depths=depths, num_heads=num_heads).eval()
    report = load_weights(model, recorded["backbone_state_dict"], name="shallow_att.pt")
    assert report.missing == [] and report.mismatched == []
    for case in recorded["cases"]:
        with torch.no_grad():
            outputs = model(case["x"])
        for ours, theirs in zip(outputs.values(), case["outs_no_prompt"], strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("features_only", [False, True])
def test_timm_swin_gives_the_same_features(features_only):
    """Names, stage numbers of the merging layers and their order of pixels, in one comparison."""
    torch.manual_seed(0)
    sizes = {"embed_dim": 4, "depths": (2, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
    theirs = timm.create_model("swin_tiny_patch4_window7_224", features_only=features_only, **sizes).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    model = Detector().eval()
    report = load_weights(model, theirs.state_dict(), scope="parts")
    assert report.mismatched == [] and "backbone" not in report.fresh
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        if features_only:
            expected = theirs(images)
        else:
            expected = [map.permute(0, 2, 3, 1) for map in theirs.forward_intermediates(images)[1]]
        ours = model.backbone(images)
    for feature, raw in zip(ours.values(), expected, strict=True):
        # ours are normalised by fresh LayerNorms, theirs are not
        raw = nn.functional.layer_norm(raw, raw.shape[-1:])
        torch.testing.assert_close(feature.permute(0, 2, 3, 1), raw, atol=2e-4, rtol=1e-4)


def microsoft_classifier(model):
    weights = {
        k.removeprefix("backbone."): v for k, v in random_weights(model).items() if k.startswith("backbone.")
    }
    weights = {k: v for k, v in weights.items() if not re.match(r"norm\d\.", k)}
    return {"model": {**weights, "norm.weight": torch.ones(32), "head.weight": torch.zeros(10, 32)}}


def test_classifier_weights_start_a_training_but_are_no_detector(messages):
    model = Detector()
    source = microsoft_classifier(model)
    report = load_weights(model, source, scope="parts")
    assert report.fresh == ["neck", "prompt_predictor", "roi_heads"]
    assert report.unexpected == ["backbone.norm.weight", "backbone.head.weight"]
    assert "starts fresh: neck, prompt_predictor, roi_heads" in messages()
    name = "layers.2.blocks.0.mlp.fc1.weight"
    assert torch.equal(model.state_dict()[f"backbone.{name}"], source["model"][name])
    with pytest.raises(InputError, match="nothing for neck, prompt_predictor, roi_heads.*not to evaluate"):
        load_weights(model, source)


def test_baseline_detector_starts_a_prompted_one_but_does_not_pass_for_it():
    weights = random_weights(Detector(predictor=False))
    report = load_weights(Detector(), weights, scope="parts")
    assert report.fresh == ["prompt_predictor"]
    with pytest.raises(InputError, match="prompt_predictor"):
        load_weights(Detector(), weights)


@pytest.mark.parametrize("scope", ["model", "parts", "backbone"])
@pytest.mark.parametrize(
    "source",
    [
        random_weights(Detector(width=8)),
        {"backbone.stem.conv1.weight": torch.zeros(4, 3, 7, 7), "roi_heads.0.weight": torch.zeros(4, 4)},
        {"a.weight": torch.zeros(3)},
    ],
    ids=["wider", "resnet", "alien"],
)
def test_another_architecture_is_refused_with_counts_and_the_model_stays(source, scope):
    model = Detector()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError, match=r"\d+ matched, \d+ missing, \d+ unexpected, \d+ of another shape"):
        load_weights(model, source, scope=scope)
    assert same(before, model.state_dict())


def test_a_weight_file_in_a_folder_that_is_not_there_is_told_with_what_makes_it(tmp_path):
    told = f"there is no folder {tmp_path}/first: train the configuration that writes there first .*first stage.*name"
    with pytest.raises(InputError, match=told) as error:
        read_checkpoint(tmp_path / "first/model_final.pth")
    assert "MODEL.WEIGHTS, demo.py --weights" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(InputError, match="there is no weight file in that folder; name another one"):
        read_checkpoint(tmp_path / "model_final.pth")


def test_too_small_a_share_is_refused_unless_partial_is_allowed():
    weights = random_weights(Detector())
    half = dict(list(weights.items())[::2])
    with pytest.raises(InputError, match="train_net.py --eval-only --allow-partial"):  # demo.py has no such option
        load_weights(Detector(), half)
    report = load_weights(Detector(), half, allow_partial=True)
    assert len(report.matched) > 40 and len(report.missing) > 20


def test_another_number_of_classes_is_fine_to_start_from_and_refused_to_evaluate(messages):
    weights = random_weights(Detector(classes=5))
    with pytest.raises(InputError, match=r"number of classes.*roi_heads\.2\.weight \[5, 4\] for \[3, 4\]"):
        load_weights(Detector(classes=3), weights)
    report = load_weights(Detector(classes=3), weights, scope="parts")
    assert [name for name, _, _ in report.mismatched] == ["roi_heads.2.weight", "roi_heads.2.bias"]
    assert "not loaded" in messages() and "roi_heads.2.bias" in messages()


def test_export_keeps_numbers_and_half_precision_loads_into_single(tmp_path):
    model, weights = Detector(), random_weights(Detector())
    load_weights(model, weights)
    export_safetensors(model, tmp_path / "w.safetensors", metadata={"seed": "1"})
    export_safetensors(model, tmp_path / "h.safetensors", half=True)
    export_safetensors(model, tmp_path / "new/folder/w.safetensors")
    assert (tmp_path / "new/folder/w.safetensors").is_file()
    assert read_checkpoint(tmp_path / "w.safetensors")["metadata"] == {"seed": "1"}
    full, half = Detector(), Detector()
    load_weights(full, tmp_path / "w.safetensors")
    load_weights(half, tmp_path / "h.safetensors")
    assert same(full.state_dict(), weights)
    assert all(value.dtype != torch.float16 for value in half.state_dict().values())
    torch.testing.assert_close(half.neck.weight, full.neck.weight, atol=2e-3, rtol=1e-3)
    assert (tmp_path / "h.safetensors").stat().st_size < 0.65 * (tmp_path / "w.safetensors").stat().st_size
    with pytest.raises(InputError, match="w has 1 of 1"):
        export_safetensors({"w": torch.tensor([1e5])}, tmp_path / "x.safetensors", half=True)
    assert not (tmp_path / "x.safetensors").exists()


# ---- a run's checkpoints -------------------------------------------------------------------------------


def run(folder, *, iteration=None, model=None, config=None):
    """-> (checkpointer of a fresh process, its trainer state), having saved one checkpoint if asked."""
    trainer = Counter(iteration or 0)
    checkpointer = SafeCheckpointer(model or nn.Linear(3, 3), str(folder), config=config, trainer=trainer)
    if iteration is not None:
        checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
    return checkpointer, trainer


def test_save_and_resume_return_weights_and_state(tmp_path, messages):
    first, _ = run(tmp_path, iteration=9)
    second, trainer = run(tmp_path)
    extra = second.resume_or_load("", resume=True)
    assert same(first.model.state_dict(), second.model.state_dict())
    assert trainer.iteration == 9 and extra == {"iteration": 9} and second.has_checkpoint()
    assert "resumed from" in messages() and sorted(os.listdir(tmp_path)) == [
        "last_checkpoint",
        "model_0000009.pth",
    ]


def test_periodic_checkpointer_works_and_keeps_the_newest(tmp_path):
    checkpointer, trainer = run(tmp_path)
    periodic = PeriodicCheckpointer(checkpointer, 2, max_iter=6, max_to_keep=2)
    for iteration in range(6):
        trainer.iteration = iteration
        periodic.step(iteration)
    assert sorted(os.listdir(tmp_path)) == [
        "last_checkpoint", "model_0000003.pth", "model_0000005.pth", "model_final.pth",
    ]  # fmt: skip
    assert checkpointer.get_checkpoint_file().endswith("model_final.pth")


def test_resume_in_an_empty_folder_says_that_it_starts_at_zero(tmp_path, messages):
    checkpointer, _ = run(tmp_path)
    assert checkpointer.resume_or_load("", resume=True) == {}
    assert not checkpointer.has_checkpoint() and "starting at iteration 0" in messages()


def test_start_without_resume_loads_weights_only(tmp_path):
    (tmp_path / "a").mkdir()
    run(tmp_path / "a", iteration=9)
    checkpointer, trainer = run(tmp_path)
    checkpointer.resume_or_load(str(tmp_path / "a" / "model_0000009.pth"), resume=False)
    assert trainer.iteration == 0
    assert same(
        checkpointer.model.state_dict(), read_checkpoint(tmp_path / "a" / "model_0000009.pth")["model"]
    )


@pytest.mark.parametrize("tag", [None, "", "model_0000077.pth"])
def test_missing_or_dangling_last_checkpoint_takes_the_newest_valid_file_and_says_so(tmp_path, messages, tag):
    for iteration in (1, 3, 5):
        run(tmp_path, iteration=iteration)
    whole = (tmp_path / "model_0000005.pth").read_bytes()
    (tmp_path / "model_0000005.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "last_checkpoint").unlink()
    if tag is not None:
        (tmp_path / "last_checkpoint").write_text(tag)
    checkpointer, trainer = run(tmp_path)
    checkpointer.resume_or_load("", resume=True)
    assert trainer.iteration == 3 and checkpointer.has_checkpoint()
    assert "model_0000005.pth" in messages() and "truncated" in messages()
    assert re.search("newest that is: .*model_0000003.pth", messages())


def test_a_final_model_counts_by_the_iteration_inside(tmp_path):
    run(tmp_path, iteration=3)
    last, _ = run(tmp_path, iteration=7)
    os.replace(tmp_path / "model_0000007.pth", tmp_path / "model_final.pth")
    (tmp_path / "last_checkpoint").unlink()
    checkpointer, trainer = run(tmp_path)
    checkpointer.resume_or_load("", resume=True)
    assert trainer.iteration == 7


def test_no_valid_checkpoint_among_several_never_starts_at_zero(tmp_path):
    run(tmp_path, iteration=1)
    (tmp_path / "model_0000001.pth").write_bytes(b"")
    torch.save(
        {"model": {"weight": torch.zeros(3, 3)}}, tmp_path / "model_0000002.pth"
    )  # weights, no trainer
    with pytest.raises(InputError, match="none of the 2 checkpoints"):
        run(tmp_path)[0].resume_or_load("", resume=True)


def test_kill_while_saving_resumes_from_the_previous_and_removes_the_part(tmp_path, messages):
    run(tmp_path, iteration=1)
    part = tmp_path / "model_0000003.tmp.pth"
    part.write_bytes((tmp_path / "model_0000001.pth").read_bytes()[:500])
    reader = SafeCheckpointer(nn.Linear(3, 3), str(tmp_path))  # evaluates while another process trains
    reader.resume_or_load("", resume=True)
    assert part.exists()
    checkpointer, trainer = run(tmp_path)
    checkpointer.resume_or_load("", resume=True)
    assert trainer.iteration == 1 and not part.exists()
    assert "model_0000003.tmp.pth (500 bytes)" in messages()


@pytest.mark.parametrize("room", [0, 5_000, 390_000])
def test_full_disk_leaves_the_previous_checkpoint_and_one_line(tmp_path, capsys, room):
    model = nn.Linear(300, 300)  # 361 kB of weights, a little more on disk
    checkpointer, _ = run(tmp_path, iteration=1, model=model)
    before = {file: (tmp_path / file).read_bytes() for file in os.listdir(tmp_path)}
    size = (tmp_path / "model_0000001.pth").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(room, size - 100), hard))
    try:
        with pytest.raises(SystemExit) as stop:
            run_script(lambda: checkpointer.save("model_0000003", iteration=3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err.strip()
    assert (
        stop.value.code == 1
        and error.startswith("no space")
        and "model_0000003" in error
        and "\n" not in error
    )
    assert {file: (tmp_path / file).read_bytes() for file in os.listdir(tmp_path)} == before


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    checkpointer, _ = run(tmp_path, iteration=1)
    with torch.no_grad():
        checkpointer.model.bias[1] = float("nan")
    with pytest.raises(
        FloatingPointError, match="bias has 1 of 3.*last good checkpoint: .*model_0000001.pth"
    ):
        checkpointer.save("model_0000003", iteration=3)
    assert checkpointer.get_checkpoint_file().endswith("model_0000001.pth")


def test_state_that_could_not_be_read_back_is_refused_when_saved(tmp_path):
    checkpointer, _ = run(tmp_path)
    with pytest.raises(TypeError, match="extra.reader"):
        checkpointer.save("model_0000001", extra={"reader": re.compile("x")})
    assert os.listdir(tmp_path) == []


def config(**changes):
    cfg = CfgNode(
        {"MODEL": {"STPN": {"DEEP": False}, "WEIGHTS": "a", "DEVICE": "cpu"}, "SOLVER": {"BASE_LR": 0.1}}
    )
    cfg.SOLVER.STEPS = (3, 4)
    cfg.merge_from_list([item for key, value in changes.items() for item in (key.replace("__", "."), value)])
    return cfg


def test_resume_prints_changed_keys_and_refuses_a_changed_architecture(tmp_path, messages):
    run(tmp_path, iteration=1, config=config())
    same_run, trainer = run(tmp_path, config=config(SOLVER__BASE_LR=0.2, MODEL__WEIGHTS="b"))
    same_run.resume_or_load("", resume=True)
    assert trainer.iteration == 1
    assert "SOLVER.BASE_LR 0.1 -> 0.2" in messages() and "STEPS" not in messages()
    other, trainer = run(tmp_path, config=config(MODEL__STPN__DEEP=True))
    before = other.model.weight.clone()
    with pytest.raises(InputError, match="MODEL.STPN.DEEP False -> True.*OUTPUT_DIR"):
        other.resume_or_load("", resume=True)
    assert torch.equal(before, other.model.weight) and trainer.iteration == 0


class Regression(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, batch):
        return {"loss": self.linear(batch + torch.rand(3)).square().mean()}


class TinyTrainer(DefaultTrainer):
    """detectron2's own training loop; only the checkpointer is ours."""

    def build_hooks(self):
        self.checkpointer = SafeCheckpointer(
            self.model, self.cfg.OUTPUT_DIR, config=self.cfg, trainer=weakref.proxy(self)
        )
        return super().build_hooks()[:-1]  # without writers

    def run_step(self):
        seed_iteration(1, self.iter)
        super().run_step()

    build_model = classmethod(lambda cls, cfg: torch.manual_seed(0) and Regression())
    build_train_loader = classmethod(lambda cls, cfg: itertools.repeat(torch.ones(3)))
    build_optimizer = classmethod(lambda cls, cfg, model: build_optimizer(cfg, model))
    test = classmethod(lambda cls, cfg, model: {})


def tiny_training(folder, *, iterations, resume=False, stop=None):
    folder.mkdir(exist_ok=True)
    pairs = ["OUTPUT_DIR", str(folder), "SOLVER.MAX_ITER", iterations, "SOLVER.CHECKPOINT_PERIOD", 2]
    cfg = load_config(None, [*pairs, "SOLVER.BASE_LR", 0.1, "MODEL.DEVICE", "cpu", "SOLVER.STEPS", (4,)])
    trainer = TinyTrainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.max_iter = stop or iterations
    trainer.train()
    return trainer


def test_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(tmp_path):
    whole = tiny_training(tmp_path / "a", iterations=7)
    tiny_training(tmp_path / "b", iterations=7, stop=5)
    os.remove(tmp_path / "b" / "model_final.pth")  # killed in iteration 4: the checkpoint of 3 is the newest
    resumed = tiny_training(tmp_path / "b", iterations=7, resume=True)
    assert resumed.start_iter == 4
    assert same(whole.model.state_dict(), resumed.model.state_dict())
    assert whole.optimizer.state_dict()["param_groups"] == resumed.optimizer.state_dict()["param_groups"]


def test_resume_refuses_a_model_with_other_tensors(tmp_path):
    run(tmp_path, iteration=1)
    other, _ = run(tmp_path, model=nn.Linear(4, 3))
    with pytest.raises(
        InputError, match="cannot resume.*1 matched, 0 missing, 0 unexpected, 1 of another shape"
    ):
        other.resume_or_load("", resume=True)


def test_processes_that_see_different_checkpoints_do_not_train_apart(tmp_path, monkeypatch):
    run(tmp_path, iteration=1)
    monkeypatch.setattr(comm, "all_gather", lambda mine: [mine, None])
    with pytest.raises(InputError, match="see different checkpoints.*model_0000001.pth.*None"):
        run(tmp_path)[0].resume_or_load("", resume=True)
