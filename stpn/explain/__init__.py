"""Why a model sees what it sees: pictures of its inside.

- grad_cam.py    where the encoder's features speak for a detection (arXiv 1610.02391)
- walk.py        the frames of a video with the supports that their prompts come from
- attention.py   which support tokens each prompt reads, and which pixels read each prompt
"""

from .attention import prompt_reading, support_reading
from .grad_cam import grad_cam
from .walk import explained_frames

__all__ = ["explained_frames", "grad_cam", "prompt_reading", "support_reading"]
