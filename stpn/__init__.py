"""STPN: spatio-temporal prompting for detectron2. Importing it registers the encoders and tasks."""

try:
    import detectron2  # noqa: F401
except ImportError:
    raise ImportError(
        "stpn needs detectron2, which cannot be imported here; run `python3 bootstrap.py` in the checkout, "
        "or install detectron2 as README.md says (What it installs, and detectron2)"
    ) from None

from . import encoders, meta_arch, prompting  # noqa: F401
from .config import add_stpn_config

__all__ = ["VideoPredictor", "add_stpn_config"]


def __getattr__(name):
    # VideoPredictor pulls in the video libraries; training and tests of the model do without them.
    if name == "VideoPredictor":
        from .engine.predictor import VideoPredictor

        return VideoPredictor
    raise AttributeError(f"module 'stpn' has no attribute {name!r}")
