"""Batches of clips, shared by the tasks: normalising, padding, and a look at their prompts."""

import torch.nn.functional as F
from detectron2.structures import ImageList
from detectron2.utils.events import get_event_storage


def normalise(images, mean, std):
    """(..., 3, H, W) of any number type -> float, (x - mean) / std with mean, std (3, 1, 1)."""
    return (images.to(mean) - mean) / std


def pad_images(images, size_divisibility):
    """List of (3, H, W) normalised -> ImageList padded with zeros (the mean colour) below and right."""
    return ImageList.from_tensors(images, size_divisibility)


def pad_clips(clips, size_divisibility):
    """List of (K, 3, H, W) normalised -> (B, K, 3, H', W'), padded with zeros below and right."""
    K = {len(clip) for clip in clips}
    if len(K) != 1:
        raise ValueError(f"the clips of a batch have {sorted(K)} support frames; expected one number: "
                         "INPUT.SUPPORT.TRAIN_FRAMES must hold for every sample")
    padded = ImageList.from_tensors([clip.flatten(0, 1) for clip in clips], size_divisibility).tensor
    return padded.unflatten(1, (-1, 3))


def shrink(image, factor):
    """(3, H, W) uint8 or float -> float, both sides times factor, antialiased bilinear."""
    if factor == 1.0:
        return image
    size = [max(1, round(side * factor)) for side in image.shape[-2:]]
    return F.interpolate(image[None].float(), size, mode="bilinear", antialias=True, align_corners=False)[0]


def log_prompts(prompts, period=20):
    """Log how much the prompts of the batch's images differ (variance over images, mean over numbers).

    Near 0 every video gets the same prompts, and they can carry nothing: see MODEL.STPN.PREDICTOR.TOKEN_NORM.
    """
    storage = get_event_storage()
    if storage.iter % period == 0 and len(prompts[0]) > 1:
        storage.put_scalar("prompts/variance_between_images", prompts[0].detach().var(0).mean().item())
