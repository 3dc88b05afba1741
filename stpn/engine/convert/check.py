"""Do converted weights compute what they did before? A forward, against the source's own module where there is one."""

import math
import re

import timm
import torch
from detectron2.modeling.backbone.swin import SwinTransformer

from ...errors import InputError
from ..checkpoint_file import RECOMPUTED

LIMIT = 1e-4  # largest difference of a normalised feature


@torch.no_grad()
def check_encoder(source, backbone, swin):
    """-> what was verified, in words. backbone: ours with the converted weights; swin: as from encoder_keys, without
    "MODEL.SWIN." in its keys. Raises InputError if a feature differs by more than LIMIT or is not finite.

    timm pads a map after the cyclic shift, and everybody else before it: its module is compared on a picture whose
    maps are multiples of the window, where nothing is padded.
    """
    size = (75, 107) if source.kind == "microsoft" else (32 * swin["WINDOW_SIZE"],) * 2
    picture = torch.randn(1, 3, *(size if source.kind in _REFERENCES else (75, 107)),
                          generator=torch.Generator().manual_seed(0))
    ours = backbone(picture)
    check_finite_outputs("the encoder", ours)
    if source.kind not in _REFERENCES:
        return "the encoder's four maps are finite; no module of the source's project is installed to compare with"
    title, reference = _REFERENCES[source.kind]
    theirs = reference(source, backbone, swin, picture)
    difference = max((ours[name] - theirs[name]).abs().max().item() for name in ours)
    if not difference <= LIMIT:
        raise InputError(f"after conversion the features differ from {title} by {difference:.2g} (limit {LIMIT:g}): "
                         "its weights are not what their names say")
    return (f"{', '.join(ours)} of a random {size[0]}x{size[1]} picture differ from {title} by at most "
            f"{difference:.1e} (limit {LIMIT:g})")


def own_names(weights):
    """The encoder's tensors under the names of a module that is an encoder alone; no translation."""
    prefixes = {match[1] for match in (re.match(r"(.*?)patch_embed\.", name) for name in weights) if match}
    prefix = min(prefixes, key=len)  # there is one, unless a second encoder lies deeper
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _detectron2(source, backbone, swin, picture):
    """Features of detectron2's SwinTransformer, whose names are Microsoft's."""
    module = SwinTransformer(**_arguments(swin), out_indices=range(len(swin["DEPTHS"]))).eval()
    _load(module, own_names(source.weights), fresh=r"norm\d\.")
    return {f"res{i + 2}": y for i, y in enumerate(module(picture).values())}


def _timm(source, backbone, swin, picture):
    """Features of timm's module, then our output norms, which timm has not."""
    module, names = source.module, own_names(source.weights)
    alone = any(name.startswith("layers_0.") for name in names)  # features_only
    if module is None:
        module = timm.create_model("swin_tiny_patch4_window7_224", **_arguments(swin), img_size=picture.shape[-1],
                                   always_partition=True, num_classes=0, features_only=alone).eval()
        _load(module, names, fresh=r"norm\.")
    maps = module(picture) if alone else [
        y.permute(0, 2, 3, 1) for y in module.forward_intermediates(picture, intermediates_only=True)]
    norms = ((f"res{i + 2}", getattr(backbone, f"norm{i}", None), y) for i, y in enumerate(maps))
    return {name: norm(y).permute(0, 3, 1, 2) for name, norm, y in norms if norm is not None}


_REFERENCES = {"microsoft": ("detectron2's SwinTransformer, which takes the names as they are", _detectron2),
               "timm": ("timm's own module", _timm)}


def _arguments(swin):
    return {"embed_dim": swin["EMBED_DIM"], "depths": tuple(swin["DEPTHS"]), "num_heads": tuple(swin["NUM_HEADS"]),
            "window_size": swin["WINDOW_SIZE"], "mlp_ratio": swin["MLP_RATIO"]}


def _load(module, weights, *, fresh):
    """fresh: pattern of what may be absent."""
    missing, _ = module.load_state_dict({name: value.float() if value.is_floating_point() else value
                                         for name, value in weights.items()}, strict=False)
    missing = [name for name in missing if not name.endswith(RECOMPUTED) and not re.match(fresh, name)]
    if missing:
        raise InputError(f"{type(module).__name__} of the source's project misses {len(missing)} of its tensors, such "
                         f"as {missing[0]}; copy or download the file again")


class _Video:
    """Two frames of noise, as a detector takes a video."""

    length = 2

    def __init__(self):
        noise = torch.randint(256, (self.length, 3, 64, 96), dtype=torch.uint8,
                              generator=torch.Generator().manual_seed(0))
        self.items = [{"image": image, "height": 64, "width": 96} for image in noise]

    def __iter__(self):
        return iter(self.items)

    def select(self, indices):
        return (self.items[i] for i in indices)


@torch.no_grad()
def check_detector(model):
    """A whole detector looks at two frames of noise -> what was verified, in words."""
    seen = []
    parts = {"the encoder": model.backbone, "the neck": model.neck, "RPN's head": model.proposal_generator.rpn_head,
             "the box predictor": model.roi_heads.box_predictor}
    hooks = [part.register_forward_hook(lambda _, __, out, name=name: seen.append((name, out)))
             for name, part in parts.items()]
    try:
        (frames,) = model.eval()([{"frames": _Video()}])
    finally:
        for hook in hooks:
            hook.remove()
    for name, output in seen:
        check_finite_outputs(name, output)
    return f"the whole detector on two frames of noise: every output finite, {sum(map(len, frames))} boxes"


def check_finite_outputs(name, output):
    """Raise InputError unless all numbers in nested containers of tensors are finite (detections hide the others)."""
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        for item in output:
            check_finite_outputs(name, item)
    elif not math.isfinite(float(output.abs().sum(dtype=torch.float64))):
        raise InputError(f"after conversion the outputs of {name} are not finite; use an earlier checkpoint")
