"""The tracker of one target: everything that is remembered of a video, apart from the model, which keeps nothing."""

from typing import NamedTuple

import torch

from ..crops import box_in_image, check_box, check_image, clip_box, crop_square
from .tracker_memory import OnlineTemplates, SupportMemory

_LARGEST_FACTOR = 20


class Track(NamedTuple):
    """box: [x, y, w, h] in pixels of the frame, top left corner and size; score: 0..1, is the target in it? None
    without a score head."""

    box: list
    score: float | None


class TrackerSettings(NamedTuple):
    """INPUT.TRACKING's sizes and TEST.TRACKING, see stpn/config.py."""

    template_size: int
    template_factor: float
    search_size: int
    search_factor: float
    update_interval: int
    online_templates: int
    update_score: float
    score_decay: float
    lost_score: float

    @classmethod
    def from_config(cls, cfg):
        sizes, test = cfg.INPUT.TRACKING, cfg.TEST.TRACKING
        for key, value in (("TEMPLATE_SIZE", sizes.TEMPLATE_SIZE), ("SEARCH_SIZE", sizes.SEARCH_SIZE)):
            if value < 16 or value % 16:
                raise ValueError(f"INPUT.TRACKING.{key} is {value}; expected a multiple of 16, the encoder's stride")
        for key in ("UPDATE_INTERVAL", "ONLINE_TEMPLATES"):
            if test[key] < 1:
                raise ValueError(f"TEST.TRACKING.{key} is {test[key]}; expected at least 1")
        for key in ("UPDATE_SCORE", "SCORE_DECAY", "LOST_SCORE"):
            if not 0 <= test[key] <= 1:
                raise ValueError(f"TEST.TRACKING.{key} is {test[key]}; expected 0 to 1")
        for key, value in (("INPUT.TRACKING.TEMPLATE_FACTOR", sizes.TEMPLATE_FACTOR),
                           ("INPUT.TRACKING.SEARCH_FACTOR", sizes.SEARCH_FACTOR),
                           ("TEST.TRACKING.SEARCH_FACTOR", test.SEARCH_FACTOR)):
            if not 1 <= value <= _LARGEST_FACTOR:
                raise ValueError(f"{key} is {value}; expected 1 to {_LARGEST_FACTOR} times the target's size")
        return cls(sizes.TEMPLATE_SIZE, sizes.TEMPLATE_FACTOR, sizes.SEARCH_SIZE, test.SEARCH_FACTOR,
                   test.UPDATE_INTERVAL, test.ONLINE_TEMPLATES, test.UPDATE_SCORE, test.SCORE_DECAY, test.LOST_SCORE)


class Tracker:
    """tracker = model.tracker(); tracker.initialize(image, box); then for each further frame tracker.track(image).

    Images: uint8 (H, W, 3) RGB. As MixFormer's on-line tracker, without window, smoothing or penalty. Where a frame
    has another size than the one before, the box is scaled with it. Memory does not grow with the video.
    """

    def __init__(self, model):
        self._model, self._settings = model, model.settings
        self._box = None

    def initialize(self, image, box):
        """box: x, y, w, h of the target in this frame, pixels -> Track of it as given, score 1 (None without a score
        head). InputError as check_image and check_box; what was tracked before goes on then."""
        check_image(image)
        box = check_box(box, *image.shape[:2])
        self._t, self._size, self._box = 0, image.shape[:2], box
        self._templates = OnlineTemplates(self._model, image, self._box)
        self._memory = SupportMemory(self._model)
        if self._memory.wants(0):
            self._memory.remember(0, self._search_region(image)[0], None, self._templates.encoded)
        return Track(list(self._box), None if self._model.score_branch is None else 1.0)

    @torch.no_grad()
    def track(self, image):
        """-> Track in this frame, the next of the video. FloatingPointError if the box is not finite."""
        if self._box is None:
            raise RuntimeError("track() was called before initialize(image, box); say first what is to be tracked")
        check_image(image)
        model, templates = self._model, self._templates.encoded
        self._t += 1
        self._fit(image.shape[:2])
        search, scale = self._search_region(image)
        prompts = self._memory.prompts(self._t, templates)
        features = model.backbone(search, prompts=prompts, templates=templates)[model.backbone.embed_feature]
        corners = model.box_head(features)
        score = model.score(features, templates, corners)
        score = None if score is None else score.item()
        if self._memory.wants(self._t):
            self._memory.remember(self._t, search, features, templates)
        self._box = self._placed(corners[0].tolist(), scale)
        self._templates.see(self._t, image, self._box, score)
        return Track(list(self._box), score)

    def _search_region(self, image):
        """-> (1, 3, S, S) normalised crop around the last box, and its scale."""
        settings = self._settings
        crop, scale = crop_square(image, self._box, factor=settings.search_factor, size=settings.search_size)
        return self._model.images([torch.from_numpy(crop).permute(2, 0, 1)]).tensor, scale

    def _placed(self, corners, scale):
        """x1 y1 x2 y2 relative to the search region -> box in the frame, clipped to it."""
        x1, y1, x2, y2 = corners
        centred = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
        box = box_in_image(centred, self._box, scale=scale, size=self._settings.search_size)
        if not all(v - v == 0 for v in box):
            raise FloatingPointError(f"the box of frame {self._t} is {box}, which is not finite; check the weights for "
                                     "NaN")
        return clip_box(box, *self._size)

    def _fit(self, size):
        """Scale the box where the frame's size (H, W) has changed."""
        if size != self._size:
            high, wide = (new / old for new, old in zip(size, self._size, strict=True))
            x, y, w, h = self._box
            self._box, self._size = [x * wide, y * high, w * wide, h * high], size
