"""From the dict of a whole video to one of its frames with masks: the mapper of video instance segmentation."""

import copy

import numpy as np
import torch
from detectron2.structures import BitMasks, Instances

from ..errors import InputError
from .datasets.mask_rle import decode
from .mapper import MAPPER_REGISTRY, ClipMapper, frame_name

_OF_THE_VIDEO = ("annotations", "length", "missing_frames")  # keys that say nothing of the frame


@MAPPER_REGISTRY.register()
class VideoInstanceMapper(ClipMapper):
    """Dataset dict of a video (load_ytvis) -> a frame drawn uniformly, its support frames, and "instances" with
    gt_classes and gt_ids int64, gt_masks BitMasks (n, H, W), gt_boxes tight around them. Crowd regions are left out, as
    are objects of which the transform leaves no pixel: no instance at all is legal. json_id as in the dict."""

    def key_frame(self, dataset_dict, rng):
        """Only the drawn frame's masks are copied and decoded."""
        missing = set(dataset_dict.get("missing_frames", ()))
        frames = [t for t in range(dataset_dict["video_length"]) if t not in missing]
        t = frames[int(rng.integers(len(frames)))]
        sample = {key: value for key, value in dataset_dict.items() if key not in _OF_THE_VIDEO}
        sample |= {"frame_index": t, "file_name": self.video_index.path(sample["video_id"], t)}
        return sample, copy.deepcopy(dataset_dict["annotations"][t])

    def instances(self, annotations, transforms, size, sample):
        annotations = [annotation for annotation in annotations if not annotation.get("iscrowd", 0)]
        masks = [_transformed(annotation, transforms, sample) for annotation in annotations]
        masks = torch.from_numpy(np.stack(masks)) if masks else torch.zeros((0, *size), dtype=torch.bool)
        instances = Instances(size, gt_masks=BitMasks(masks))
        instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        for name, key in (("gt_classes", "category_id"), ("gt_ids", "id")):
            instances.set(name, torch.tensor([annotation[key] for annotation in annotations], dtype=torch.int64))
        return instances[masks.flatten(1).any(dim=1)]


def _transformed(annotation, transforms, sample):
    """-> np.bool (H, W) of the transformed picture."""
    try:
        mask = decode(annotation["segmentation"], (sample["height"], sample["width"]))
    except InputError as error:
        raise InputError(f"{frame_name(sample)}, track {annotation['id']}: {error}") from None
    return transforms.apply_segmentation(mask.astype(np.uint8)).astype(bool)
