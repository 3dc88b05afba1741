"""Where weights to convert come from, and whose they are: a file, or one of timm's models by name."""

import difflib
import hashlib
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import timm
from torch import nn

from ...errors import InputError
from ..checkpoint_file import check_finite, read_checkpoint
from ..weight_names import choose_weights

# What each kind's names look like; "auto" tells them apart.
KINDS = {
    "timm": "timm's Swin (layers.1.downsample, or layers_1 with features_only)",
    "microsoft": "Microsoft's Swin, classifiers and detectors (layers.0.downsample), also detectron2's",
    "mmdet": "mmdetection 2 (stages.0.blocks.0.attn.w_msa)",
    "stpn": "the authors' STPN (mmdetection's names and prompt_predictor)",
    "cvt": "Microsoft's CvT (stage0.blocks.0.attn.conv_proj_q)",
    "mixformer": "MixFormer's trackers with CvT (the same and box_head)",
}
_TIMM = "timm:"


@dataclass
class Source:
    """Weights as their authors name them. config_text and classes: what mmdetection stores beside them, if it did.
    module: timm's own model with these weights, when they came by name."""

    name: str
    kind: str
    weights: dict
    digest: str  # SHA-256 of the file; of timm's: of names and bytes of the tensors
    config_text: str = ""
    classes: tuple = ()
    module: nn.Module | None = None


def read_source(name, kind="auto"):
    """name: a weight file, or "timm:" and a name of timm's, which timm downloads -> Source.

    Nothing in a file is executed. Raises InputError: unreadable, no Swin and no CvT in it, values not finite, or
    names that are not those of the kind asked for.
    """
    if name.startswith(_TIMM):
        return _expect(_from_timm(name), kind)
    content = read_checkpoint(name)
    try:
        weights, _ = choose_weights(content)
        found = find_kind(weights)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    meta = content.get("meta") if isinstance(content.get("meta"), dict) else {}
    classes = meta.get("CLASSES") if isinstance(meta.get("CLASSES"), (list, tuple)) else ()
    source = Source(Path(name).name, found, weights, _file_digest(name), str(meta.get("config") or ""),
                    tuple(map(str, classes)))
    return _expect(source, kind)


def find_kind(names):
    """Names of tensors -> a key of KINDS. Raises InputError if they are no Swin's and no CvT's."""
    if any(re.search(r"\bstage\d\.blocks\.\d+\.attn\.conv_proj_q\.", name) for name in names):
        return "mixformer" if any(re.search(r"\bbox_head\.", name) for name in names) else "cvt"
    if any(re.search(r"\bstages\.\d+\.blocks\.\d+\.attn\.w_msa\.", name) for name in names):
        return "stpn" if any(re.search(r"\bprompt_predictor\.", name) for name in names) else "mmdet"
    if not any(re.search(r"\blayers[._]\d+\.blocks\.\d+\.attn\.qkv\.", name) for name in names):
        raise InputError(f"there is no Swin transformer or CvT in it, only names like {', '.join(list(names)[:3])}; "
                         f"known: {'; '.join(KINDS.values())}")
    # timm merges patches at the start of a stage (never in the first), everybody else at the end.
    merges = {int(match[1]) for match in (re.search(r"\blayers[._](\d+)\.downsample\.", n) for n in names) if match}
    return "timm" if merges and 0 not in merges else "microsoft"


def _expect(source, kind):
    if kind not in ("auto", source.kind):
        raise InputError(f"{source.name}: --kind {kind}, but its names are those of {source.kind}: "
                         f"{KINDS[source.kind]}; drop --kind or take --kind {source.kind}")
    return source


def _from_timm(name):
    model = name.removeprefix(_TIMM)
    known = timm.list_models("swin_*") + timm.list_pretrained("swin_*")
    if model not in known:
        near = difflib.get_close_matches(model, known, 3, 0.3)
        raise InputError(f"{name}: timm {timm.__version__} has no Swin of that name; nearest: {', '.join(near)}")
    _check_reachable(name, timm.get_pretrained_cfg(model))
    try:
        # Windows and shifts as in detectors, whatever the size of the map: see convert_checks.
        module = timm.create_model(model, pretrained=True, always_partition=True).eval()
    except Exception as error:  # timm, its hub and the network fail in many ways
        raise _not_got(name, f"{type(error).__name__}: {_first_line(error)}") from None
    weights = {key: value.detach() for key, value in module.state_dict().items()}
    check_finite(weights, name)
    digest = hashlib.sha256()
    for key, value in weights.items():
        digest.update(key.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return Source(name, find_kind(weights), weights, digest.hexdigest(), module=module)


def _check_reachable(name, wanted):
    """One question to timm's hub, unless the weights are here already. The hub's own download asks for most of a
    minute, with a line on the terminal each time, and cannot be told to ask less."""
    files = "model.safetensors", "pytorch_model.bin"
    if not wanted or not wanted.hf_hub_id:
        return
    if any(isinstance(huggingface_hub.try_to_load_from_cache(wanted.hf_hub_id, file), str) for file in files):
        return
    try:
        huggingface_hub.file_exists(wanted.hf_hub_id, files[0])
    except Exception as error:  # of several network libraries
        # An answer, even "not found" or "forbidden", comes over a network: timm will say what it makes of it.
        if getattr(getattr(error, "response", None), "status_code", 500) >= 500:
            reason = f"they are not in its cache, and its hub does not answer, {type(error).__name__}"
            raise _not_got(name, reason) from None


def _not_got(name, reason):
    return InputError(f"{name}: timm could not get these weights ({reason}); it needs a network, or fetch the file "
                      "elsewhere and give its path as SOURCE")


def _file_digest(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _first_line(error):
    return textwrap.shorten((str(error).strip() or "no reason given").splitlines()[0], 150, placeholder=" ...")
