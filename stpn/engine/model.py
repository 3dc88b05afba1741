"""build_model: detectron2's, with errors that a user can read."""

from detectron2.modeling import build_model as build

from ..errors import InputError


def build_model(cfg):
    """The model that cfg describes. A value that the model's parts refuse is an InputError with their message."""
    try:
        return build(cfg)
    except (ValueError, KeyError) as error:
        raise InputError(f"the configuration does not describe a model: {str(error).strip(chr(34))}") from error
