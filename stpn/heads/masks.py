"""Mask logits of the padded, resized image -> masks of the original frame, and their compressed form."""

import numpy as np
import torch.nn.functional as F
from pycocotools import mask as coco_mask


def resize_masks(masks, *, padded, size, frame):
    """masks: (n, h, w) logits; padded: (H', W') of the network's input, size: (H, W) of the picture in its upper left
    corner, frame: (H0, W0) of the original. -> (n, H0, W0) bool.

    Bilinear on the logits, to the input's size and then to the frame's, as Mask2Former does.
    """
    if not len(masks):
        return masks.new_zeros((0, *frame), dtype=bool)
    grown = F.interpolate(masks[None].float(), padded, mode="bilinear", align_corners=False)
    grown = grown[..., :size[0], :size[1]]
    return F.interpolate(grown, frame, mode="bilinear", align_corners=False)[0] > 0


def encode_mask(mask):
    """(H, W) bool -> COCO RLE {"size": [H, W], "counts": str}, None for an empty mask."""
    if not mask.any():
        return None
    rle = coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}
