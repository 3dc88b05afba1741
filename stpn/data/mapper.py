"""From dataset dicts and video frames to what the model reads.

One transform is drawn on the key frame and replayed on its support frames, so that they stay aligned. Every
draw comes from the sample's own seed: a sample is the same in any worker, process or resumed run, and the key
frame is the same whether support frames are read or not.
"""

import copy

import numpy as np
import torch
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from fvcore.common.registry import Registry

from ..errors import InputError
from ..prompting.sampling import SupportSampler
from .augmentation import build_augmentations, randomness, seeded
from .builtin import merged_index
from .frame_mapper import TestFrameMapper, prepare, to_size, to_tensor
from .image import read_image
from .video import VideoIndex

__all__ = ["MAPPER_REGISTRY", "ClipMapper", "TestFrameMapper", "VideoDatasetMapper", "frame_name", "prepare"]

MAPPER_REGISTRY = Registry("MAPPER")
MAPPER_REGISTRY.__doc__ = "Training mappers by the name in INPUT.MAPPER; each has from_config(cfg, is_train)."


_STILL = {"frame_index": 0, "video_length": 1}  # a dict without these is a still picture


class ClipMapper:
    """What training mappers share: a key frame, its support frames, one transform for all. A subclass says which
    frame a dataset dict stands for (key_frame), and what is known of it (instances)."""

    def __init__(self, *, is_train, sampler, video_index, augmentations, support_resize=1.0,
                 image_format="RGB", selsa_sampler=None, allow_missing=False):
        """
        sampler: SupportSampler, or None to read no support frames (the baseline, and evaluation)
        selsa_sampler: SupportSampler of the frames whose proposals SELSA aggregates, or None
        video_index: VideoIndex with the samples' videos
        augmentations: list of detectron2 augmentations, the same for the key frame and its supports
        support_resize: size of the support frames relative to the key frame, after the augmentations
        image_format: channel order, "RGB" or "BGR"
        allow_missing: a support frame that cannot be read is replaced by the next readable one towards the key frame
        """
        if image_format not in ("RGB", "BGR"):
            raise InputError(f"INPUT.FORMAT is {image_format!r}; expected RGB or BGR")
        self.is_train = is_train
        self.sampler = sampler
        self.selsa_sampler = selsa_sampler
        self.video_index = video_index
        self.augmentations = T.AugmentationList(augmentations)
        self.support_resize = support_resize
        self.image_format = image_format
        self.allow_missing = allow_missing

    @classmethod
    def from_config(cls, cfg, is_train=True):
        """Loads the data sets of cfg.DATASETS.TRAIN that have not been loaded yet."""
        support = cfg.INPUT.SUPPORT
        sampler = SupportSampler.from_config(support)
        selsa = cfg.INPUT.SELSA
        if is_train and selsa.TRAIN_FRAMES and cfg.MODEL.META_ARCHITECTURE != "SelsaDetector":
            raise InputError(f"INPUT.SELSA.TRAIN_FRAMES is {selsa.TRAIN_FRAMES}, but {cfg.MODEL.META_ARCHITECTURE} "
                             "reads no such frames; set it to 0, or MODEL.META_ARCHITECTURE to SelsaDetector (with "
                             "SelsaROIHeads and SelsaBoxHead)")
        selsa_sampler = SupportSampler.from_config(selsa, support.TEST_POLICY) if selsa.TRAIN_FRAMES else None
        return cls(is_train=is_train, sampler=sampler if is_train and cfg.MODEL.STPN.ENABLED else None,
                   selsa_sampler=selsa_sampler if is_train else None,
                   video_index=merged_index(cfg.DATASETS.TRAIN) if is_train else VideoIndex(),
                   augmentations=build_augmentations(cfg, is_train), support_resize=support.RESIZE,
                   image_format=cfg.INPUT.FORMAT, allow_missing=cfg.DATALOADER.ALLOW_MISSING)

    def __call__(self, dataset_dict):
        """
        dataset_dict: one of those that the loaders return; "sample_seed" (an int or ints) makes it repeatable.

        -> {"image": uint8 (3, H, W), "instances": see the subclass,
            "support_images": uint8 (K, 3, H', W') and "support_indices": K ints (with a sampler),
            "selsa_images": uint8 (K, 3, H, W) and "selsa_indices" (with a selsa_sampler),
            file_name, video_id, frame_index, video_length, height and width (before), and what else the dict has}
        Raises InputError naming the sample when its picture or its annotations cannot be used.
        """
        augmentation_seed, support_rng, selsa_rng, frame_rng = randomness(dataset_dict.get("sample_seed"))
        sample, annotations = self.key_frame(dataset_dict, frame_rng)
        sample.pop("sample_seed", None)
        key = self._read_key(sample)
        augmented = T.AugInput(key)
        with seeded(augmentation_seed):
            transforms = self.augmentations(augmented)
        sample["image"] = self._to_tensor(augmented.image)
        if self.is_train:
            sample["instances"] = self.instances(annotations, transforms, augmented.image.shape[:2], sample)
        for kind, sampler, rng, resize in (("support", self.sampler, support_rng, self.support_resize),
                                           ("selsa", self.selsa_sampler, selsa_rng, 1.0)):
            if sampler is not None:
                indices = sampler.train(sample["frame_index"], sample["video_length"], rng)
                sample[f"{kind}_indices"] = indices
                sample[f"{kind}_images"] = self._read_support(indices, sample, key, transforms, resize)
        return sample

    def key_frame(self, dataset_dict, rng):
        """rng: Generator, for mappers that choose. -> (dict with file_name, video_id, frame_index, video_length, its
        own and without the annotations; list of the annotations of the frame)."""
        raise NotImplementedError

    def instances(self, annotations, transforms, size, sample):
        """-> Instances of image size `size` (H, W), as transforms leave the annotations."""
        raise NotImplementedError

    def _read_support(self, indices, sample, key, transforms, resize):
        """-> uint8 (K, 3, H, W), with the key frame's transforms, then scaled by resize."""
        t, video_id = sample["frame_index"], sample["video_id"]
        frames = {}  # each frame is read once, however often it supports
        for i in dict.fromkeys(indices):
            frame = key if i == t else to_size(self._read_near(video_id, i, t), key.shape[:2])
            frame = transforms.apply_image(frame)
            if resize != 1.0:
                frame = to_size(frame, [max(1, round(side * resize)) for side in frame.shape[:2]])
            frames[i] = self._to_tensor(frame)
        return torch.stack([frames[i] for i in indices])

    def _read_near(self, video_id, i, t):
        """Frame i; where it cannot be read and allow_missing is set, the next readable one towards frame t."""
        read_towards = self.video_index.read_towards
        return read_towards(video_id, i, t) if self.allow_missing else self.video_index.read(video_id, i)

    def _read_key(self, sample):
        in_file = sample["video_id"] in self.video_index and self.video_index.file(sample["video_id"])
        image = (self.video_index.read(sample["video_id"], sample["frame_index"]) if in_file
                 else read_image(sample["file_name"]))
        expected = sample.get("height", image.shape[0]), sample.get("width", image.shape[1])
        if image.shape[:2] != expected:
            # Boxes may have been drawn on the picture as stored, its EXIF orientation ignored.
            stored = image if in_file else read_image(sample["file_name"], upright=False)
            if stored.shape[:2] != expected:
                raise InputError(f"{frame_name(sample)} is {image.shape[1]}x{image.shape[0]} pixels but its "
                                 f"annotation says {expected[1]}x{expected[0]}; one of the two belongs to "
                                 "another data set")
            image = stored
        sample.setdefault("height", image.shape[0])
        sample.setdefault("width", image.shape[1])
        return image

    def _to_tensor(self, image):
        return to_tensor(image, self.image_format)


@MAPPER_REGISTRY.register()
class VideoDatasetMapper(ClipMapper):
    """Dataset dict of one labelled frame -> the frame, its support frames, and "instances" with gt_boxes, gt_classes,
    gt_ids of the boxes left by the crop; image_id as in the dict."""

    def key_frame(self, dataset_dict, rng):
        sample = {**_STILL, "video_id": dataset_dict["file_name"], **copy.deepcopy(dataset_dict)}
        return sample, sample.pop("annotations", [])

    def instances(self, annotations, transforms, size, sample):
        for annotation in annotations:
            if not np.isfinite(annotation["bbox"]).all():
                raise InputError(f"{frame_name(sample)} has the box {list(annotation['bbox'])}; expected finite "
                                 "corners; correct its annotation")
        annotations = [detection_utils.transform_instance_annotations(annotation, transforms, size)
                       for annotation in annotations if not annotation.get("iscrowd", 0)]
        instances = detection_utils.annotations_to_instances(annotations, size)
        instances.gt_ids = torch.tensor([a.get("track_id", -1) for a in annotations], dtype=torch.int64)
        return detection_utils.filter_empty_instances(instances)


def frame_name(sample):
    """What errors call the frame of a sample."""
    return f"frame {sample.get('frame_index')} of {sample.get('video_id')} ({sample['file_name']})"
