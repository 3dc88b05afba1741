"""From the dict of a tracking sequence to templates, a search region and its support regions: the mapper of trackers.

A sample is a function of its seed. The numbers for support frames come from a stream of their own, so that the baseline
and STPN see the same templates and search regions.
"""

import random
from typing import NamedTuple

import numpy as np
import torch

from ..errors import InputError
from ..prompting.sampling import PastSampler
from .augmentation import seed_streams
from .builtin import merged_index
from .frame_mapper import to_size, to_tensor
from .mapper import MAPPER_REGISTRY
from .track_crops import Single, View, Whole, jittered, look, middle_box
from .track_sampling import draw_frames, label_box, one_of, present_frames, seen_frames
from .tracking_training import check_tracking
from .video_samples import refuse_other_size

_DRAWS = 20  # of a sample, or of a support region, before its sequence is given up


class Drawn(NamedTuple):
    """The frames of a sample. record: of the templates; search_record: of the search frame, another one for some
    samples without the target; box: of the search frame, None for its label; after: the template comes later."""

    record: dict
    templates: tuple
    search_record: dict
    search: int
    present: bool
    box: np.ndarray | None = None

    @property
    def after(self):
        return self.record is self.search_record and self.templates[0] > self.search


@MAPPER_REGISTRY.register()
class TrackingMapper:
    """Dataset dict of a sequence (load_got10k) -> crops of frames that are drawn from it."""

    def __init__(self, *, video_index, template, search, mode="causal", max_gap=200, sampler=None, gray=0.0, flip=0.0,
                 brightness=0.0, others=None, positive_share=1.0, support_resize=1.0, allow_missing=False):
        """
        template, search: View; support regions are taken as search regions
        mode, max_gap: see draw_frames
        sampler: PastSampler, or None to read no support frames
        gray, flip: probabilities; brightness: range of a crop's factor, 1 -+ this
        others: all sequences of the training, from which search frames without the target are drawn
        positive_share: of the samples that show the target
        support_resize: size of the support regions relative to the search region
        allow_missing: a support frame that cannot be read is replaced by the next readable one towards the search
            frame, with the box of that one
        """
        self.video_index, self.template, self.search = video_index, template, search
        self.mode, self.max_gap, self.sampler = mode, max_gap, sampler
        self.gray, self.flip, self.brightness = gray, flip, brightness
        self.others, self.positive_share, self.allow_missing = others, positive_share, allow_missing
        self.support_resize = support_resize

    @classmethod
    def from_config(cls, cfg, is_train=True, *, others=()):
        """Loads the data sets of cfg.DATASETS.TRAIN that have not been loaded yet. others: the dataset dicts of the
        training, which the second stage needs."""
        if not is_train:
            raise ValueError("TrackingMapper draws training samples; for testing there is TrackingFrameMapper")
        tracking, score = cfg.INPUT.TRACKING, cfg.MODEL.MIXFORMER.STAGE == "score"
        check_tracking(tracking)
        supports = cfg.MODEL.STPN.ENABLED and cfg.INPUT.SUPPORT.SOURCE != "templates"
        return cls(video_index=merged_index(cfg.DATASETS.TRAIN), mode=tracking.SAMPLING, max_gap=tracking.MAX_GAP,
                   template=View(tracking.TEMPLATE_SIZE, tracking.TEMPLATE_FACTOR),
                   search=View(tracking.SEARCH_SIZE, tracking.SEARCH_FACTOR, tracking.CENTER_JITTER,
                               tracking.SCALE_JITTER),
                   sampler=PastSampler.from_config(cfg.INPUT.SUPPORT) if supports else None,
                   gray=tracking.GRAY, flip=tracking.FLIP, brightness=tracking.BRIGHTNESS,
                   others=_with_absences(others, tracking.POSITIVE_SHARE) if score else None,
                   positive_share=tracking.POSITIVE_SHARE if score else 1.0, support_resize=cfg.INPUT.SUPPORT.RESIZE,
                   allow_missing=cfg.DATALOADER.ALLOW_MISSING)

    def __call__(self, dataset_dict):
        """
        dataset_dict: one of those that the loader draws; "sample_seed" (an int or ints) makes it repeatable.

        -> {"image": uint8 (3, S, S) search region, "templates": uint8 (2, 3, s, s), template and online template,
            "box": float32 (4,) x1 y1 x2 y2 of the target relative to the search region, clipped to 0..1,
            "present": 1.0, or 0.0 where that is not the target of the templates,
            "support_images": uint8 (K, 3, S', S') and "support_indices": K ints (with a sampler),
            template_indices, frame_index: of the search frame, file_name: its path, video_id: of the templates,
            video_length, height, width}
        InputError naming the sequence when a picture cannot be used, or many draws show nothing of the frames.
        """
        frames, crops, support = seed_streams(dataset_dict.get("sample_seed"), 3)
        frames = random.Random(int.from_bytes(frames.generate_state(4).tobytes(), "little"))
        crops, support = np.random.default_rng(crops), np.random.default_rng(support)
        for _ in range(_DRAWS):
            sample = self._draw(dataset_dict, frames, crops, support)
            if sample is not None:
                return sample
        raise InputError(f"{dataset_dict['video_id']}: {_DRAWS} draws of templates and search region lie outside of "
                         "the frames; correct the boxes, or leave the sequence out (INPUT.TRACKING.EXCLUDE)")

    def _draw(self, record, frames_rng, rng, support_rng):
        """-> a sample, None where one of its crops shows nothing of its frame."""
        drawn = self._choose(record, frames_rng)
        whole = Whole(flip=bool(rng.random() < self.flip), gray=bool(rng.random() < self.gray))
        views = [(record, t, label_box(record, t), self.template) for t in drawn.templates]
        views.append((drawn.search_record, drawn.search, drawn.box, self.search))
        crops = []
        for sequence, t, box, view in views:
            single = Single.draw(rng, flip=self.flip, brightness=self.brightness)
            crops.append(self._crop(self._read(sequence, t), box, view=view, whole=whole, single=single, rng=rng))
        if any(crop is None for crop, _ in crops):
            return None
        (template, _), (online, _), (image, box) = crops
        sample = {"image": image, "templates": torch.stack([template, online]), "present": float(drawn.present),
                  "box": torch.as_tensor(box, dtype=torch.float32), "template_indices": list(drawn.templates),
                  "frame_index": drawn.search, "video_length": record["video_length"],
                  "file_name": self.video_index.path(drawn.search_record["video_id"], drawn.search),
                  **{key: record[key] for key in ("video_id", "height", "width")}}
        if self.sampler is not None:
            sample |= self._supports(drawn, whole, single, support_rng)
        return sample

    def _choose(self, record, rng):
        """-> Drawn."""
        present, seen = present_frames(record), seen_frames(record)
        *templates, search = draw_frames(seen & present, mode=self.mode, max_gap=self.max_gap, rng=rng, present=present)
        if rng.random() < self.positive_share:
            return Drawn(record, tuple(templates), record, search, True, label_box(record, search))
        absent = one_of(~seen & present, rng)
        if absent is not None:
            return Drawn(record, tuple(templates), record, absent, False, middle_box(record["height"], record["width"]))
        # from_config has seen to it that there is another; a set that is named twice gives the same one twice.
        other = rng.choice([one for one in self.others if one["video_id"] != record["video_id"]])
        t = one_of(seen_frames(other) & present_frames(other), rng)
        return Drawn(record, tuple(templates), other, t, False, label_box(other, t))

    def _supports(self, drawn, whole, single, rng):
        """The frames that support the search frame, whatever sequence it is from."""
        record = drawn.search_record
        indices = self.sampler.train(drawn.search, record["video_length"], after=drawn.after)
        frames = [self._read_support(record, i, drawn.search) for i in indices]
        images = [self._support(record, i, image, whole=whole, single=single, rng=rng) for i, image in frames]
        return {"support_images": torch.stack(images), "support_indices": [i for i, _ in frames]}

    def _support(self, record, i, image, *, whole, single, rng):
        for _ in range(_DRAWS):
            crop, _ = self._crop(image, label_box(record, i), view=self.search, whole=whole, single=single, rng=rng)
            if crop is not None:
                return self._resized(crop)
        raise InputError(f"frame {i} of {record['video_id']}: {_DRAWS} draws of a support region lie outside of it; "
                         "correct the boxes, or leave the sequence out (INPUT.TRACKING.EXCLUDE)")

    def _resized(self, crop):
        side = max(1, round(crop.shape[-1] * self.support_resize))
        return to_tensor(to_size(crop.permute(1, 2, 0).numpy(), (side, side)))

    @staticmethod
    def _crop(image, box, *, view, whole, single, rng):
        """-> (uint8 tensor (3, size, size), box relative to it), or (None, None)."""
        image, box = whole.apply(image, box)
        crop, box = look(image, box, jittered(box, view, rng), view)
        if crop is None:
            return None, None
        crop, box = single.apply(crop, box)
        return to_tensor(crop), box

    def _read(self, record, t):
        return self._of_its_size(record, t, self.video_index.read(record["video_id"], t))

    def _read_support(self, record, i, search):
        """-> (frame index, image)."""
        if not self.allow_missing:
            return i, self._read(record, i)
        i, image = self.video_index.find_towards(record["video_id"], i, search)
        return i, self._of_its_size(record, i, image)

    def _of_its_size(self, record, t, image):
        refuse_other_size(record, t, self.video_index.path(record["video_id"], t), image.shape[:2])
        return image


def _with_absences(sequences, positive_share):
    """-> the sequences; InputError where one of them has no search frame without its target anywhere."""
    whole = all((seen_frames(record) | ~present_frames(record)).all() for record in sequences)
    different = len({record["video_id"] for record in sequences})  # a set may be named twice
    if positive_share < 1 and different < 2 and whole:
        raise InputError(f"DATASETS.TRAIN has {different} sequences to train on, without a frame that lacks the "
                         "target: the score head needs such frames, or another sequence; add some")
    return sequences
