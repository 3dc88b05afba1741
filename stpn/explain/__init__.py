"""Why a model sees what it sees: pictures of its inside.

- walk.py        the frames of a video with the supports that their prompts come from; tracked.py: a tracker's
- target.py      what is to be explained in a frame, and its class score
- grad_cam.py    where the encoder's features speak for that (arXiv 1610.02391)
- attention.py   which support tokens each prompt reads, and which patches read each prompt
- sheets.py      pictures of all of it
- difference.py, truth.py    two models on one video, and its labels
- labelled_objects.py, object_features.py    what box heads make of a data set's objects
- separation.py, feature_map.py              how far apart that keeps their classes: as a number, as a picture
"""

from .attention import block_names, prompt_reading, support_reading
from .grad_cam import grad_cam
from .stages import check_stages
from .target import Target, choose, class_score, find
from .tracked import tracked_frames
from .walk import aggregated_supports, explained_frames

__all__ = ["Target", "aggregated_supports", "block_names", "check_stages", "choose", "class_score", "explained_frames",
           "find", "grad_cam", "prompt_reading", "support_reading", "tracked_frames"]
