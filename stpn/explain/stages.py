"""The encoder's blocks by stage, whatever the encoder calls them."""

from ..encoders import PromptedCvT, PromptedSwin
from ..errors import InputError


def encoder_stages(backbone):
    """-> {"res2": the blocks of the first stage, in order, "res3": ...}, also of stages that are no output."""
    if isinstance(backbone, PromptedSwin):
        stages = backbone.layers
    elif isinstance(backbone, PromptedCvT):
        stages = backbone.stage0, backbone.stage1, backbone.stage2
    else:
        raise InputError(f"{type(backbone).__name__} is not an encoder whose stages are known here; expected "
                         "PromptedSwin or PromptedCvT")
    return {f"res{i + 2}": list(stage.blocks) for i, stage in enumerate(stages)}


def check_stages(backbone, stages):
    """InputError for a name that is not one of its stages."""
    known = encoder_stages(backbone)
    for stage in stages:
        if stage not in known:
            raise InputError(f"stage {stage!r} is not known; expected one of {', '.join(known)}")
