"""Masks of the toy video set: where each object's body is, whatever a damage does to its looks.

A mask is the object's true silhouette, not what can be seen of it: blur, low resolution and darkness smear or
dim the body and leave the mask as it is, deformation and the occluder (which moves along, as if stuck to the
body) hide the pattern only. So a mask asks what a box asks: where is it? Only another object takes pixels away.
"""

import numpy as np

from .toy_scene import coordinates, inside_pixels, shared_pixels


def body_mask(obj, t, side):
    """-> bool (side, side): the pixels of a side x side image that the body of a ToyObject covers by half or more
    in frame t; pixels outside the image are cut off."""
    u, v, origin = coordinates(obj, t)
    body = inside_pixels(obj, u, v) >= 0  # coverage, clip(inside + 0.5, 0, 1), is 0.5 here
    mask = np.zeros((side, side), bool)
    patch, region = shared_pixels(body.shape, origin, mask.shape)
    mask[region] = body[patch]
    return mask


def visible_masks(objects, t, side):
    """-> for each object bool (side, side), its body less the bodies of those after it, which are pasted over it."""
    masks, covered = [], np.zeros((side, side), bool)
    for obj in reversed(objects):
        body = body_mask(obj, t, side)
        masks.append(body & ~covered)
        covered |= body
    return masks[::-1]
