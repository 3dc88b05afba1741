"""convert: weights of other projects -> a .safetensors file in our names, verified by a forward before it is written.

Reading and telling apart: source.py. What depends on the encoder's family: swin.py (with names.py, config.py, check.py)
and cvt.py.
"""

import os
from pathlib import Path

from detectron2.modeling import build_backbone
from torch import nn

from ...errors import InputError
from ..checkpoint_file import RECOMPUTED, export_safetensors
from ..model import build_model
from ..weights import compare, put
from . import cvt, swin
from .config import check_config
from .source import read_source

PARTS = ("backbone", "model")
_COUNTERS = "num_batches_tracked"


def convert(source, output, cfg, *, kind="auto", part=None, box_stds=None, overwrite=False, config_name=""):
    """Write the weights in source to output, for the model that cfg describes -> lines that say what was done.

    source: a weight file, or "timm:NAME". kind: see source.KINDS, or "auto". part: "backbone", the encoder
    alone, to train from; "model", the whole detector or tracker, to use; by default the model for STPN's and
    MixFormer's checkpoints and the encoder for all others. box_stds: see choose_box_stds. config_name: what the file
    shall say of cfg. Raises InputError, and writes nothing, unless every tensor of that part comes from the source and
    the forward proves it.
    """
    check_output(source, output, overwrite)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    source = read_source(source, kind)
    family = cvt if source.kind in cvt.KINDS else swin
    part = part or family.default_part(source.kind)
    _check_backbone(cfg, family, source)
    try:
        weights, lines = family.translate(source, cfg, part, box_stds)
    except InputError as error:
        raise InputError(f"{source.name}: {error}") from None
    check_config(family.config_keys(weights, cfg, part), cfg, source.name)
    model = build_model(cfg) if part == "model" else _encoder(cfg)
    report = compare(weights, model.state_dict(), source=source.name)
    left_out = {name: family.reason_left_out(name, part, cfg) for name in report.unexpected}
    fresh = _check_complete(report, left_out, part, family)
    put(model.eval(), weights, report.matched)
    verified = _verified(family, source, model, weights=weights, cfg=cfg, part=part)
    state = model.state_dict()
    metadata = {"source": source.name, "sha256": source.digest, "kind": source.kind, "part": part,
                "config": config_name, "verified": "; ".join(verified)}
    export_safetensors({name: state[name] for name in report.matched}, output, metadata=metadata)
    return [f"read {source.name}: {source.kind}, {len(source.weights)} tensors, SHA-256 {source.digest}",
            f"converted {len(report.matched)} tensors: {part}", *_skipped(source, weights, state, left_out), *fresh,
            *lines, *family.notes(source, weights, cfg, part), *(f"verified: {text}" for text in verified),
            f"wrote {output} ({os.path.getsize(output) / 1e6:.1f} MB)"]


def check_output(source, output, overwrite):
    """Before any work: raise InputError if output cannot be written or must not be."""
    output = Path(output)
    if output.suffix != ".safetensors":
        raise InputError(f"{output}: expected a name that ends in .safetensors")
    if not output.parent.is_dir():
        raise InputError(f"{output}: there is no folder {output.parent}; make it first")
    if output.is_dir() or (output.exists() and Path(source).exists() and output.samefile(source)):
        raise InputError(f"{output} is {'a folder' if output.is_dir() else 'the source itself'}; name another file")
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists; name another file, or replace it with --overwrite")


def _check_backbone(cfg, family, source):
    if cfg.MODEL.BACKBONE.NAME != family.BACKBONE:
        raise InputError(f"{source.name} is a file of {source.kind}, for {family.BACKBONE}, but MODEL.BACKBONE.NAME is "
                         f"{cfg.MODEL.BACKBONE.NAME}; take a config file with {family.BACKBONE}")


def _encoder(cfg):
    try:
        return nn.ModuleDict({"backbone": build_backbone(cfg)})
    except ValueError as error:
        raise InputError(f"the configuration does not describe an encoder: {error}") from None


def _verified(family, source, model, *, weights, cfg, part):
    """-> lines on what a forward of the model has proved."""
    try:
        return family.verify(source, model, weights, cfg, part)
    except InputError as error:
        raise InputError(f"{source.name}: {error}; nothing was written") from None


def _check_complete(report, left_out, part, family):
    """Raise InputError if a tensor is missing, has another shape or would be lost; -> lines on what starts fresh.
    left_out: {name in the source: why it is not needed, None if it is}."""
    fresh = [name for name in report.missing if family.starts_fresh(name, part)]
    report.missing = [name for name in report.missing if name not in fresh]
    if report.missing or report.mismatched:
        raise InputError(f"{report.source} does not fill the configured {part} ({report.counts()}); "
                         f"{report.details()}; take the config that fits the file, or copy or download it again")
    lost = [name for name, reason in left_out.items() if reason is None]
    if lost:
        raise InputError(f"{report.source} has layers that the configured {part} has not, and gives other results "
                         f"without them: {', '.join(lost[:8])}; take the config that fits the file")
    return [f"not in the source, left to start fresh: {', '.join(fresh)}"] if fresh else []


def _skipped(source, weights, state, left_out):
    """A line for each reason why tensors of the source are not in the output, with their names. weights: translated;
    state: the model's."""
    groups = {"follow from the window size": [name for name in source.weights if name.endswith(RECOMPUTED)],
              "counters, not weights": [n for n in weights if n.endswith(_COUNTERS) and n not in state]}
    for name, reason in left_out.items():
        groups.setdefault(reason, []).append(name)
    return [f"skipped {len(names)}, {reason}: {', '.join(names)}" for reason, names in groups.items() if names]
