"""Heat over pictures, and pictures beside each other. Pictures are uint8 (H, W, 3) RGB."""

import cv2
import numpy as np
import torch

_GAP = 4  # pixels between pictures
_TITLE = 18  # pixels of a line of text


def heat(image, values):
    """image with values, a tensor (h, w) in 0..1, as colours from blue to red over it -> a new picture."""
    values = values.detach().cpu().numpy().astype(np.float32)
    values = cv2.resize(values, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colors = cv2.applyColorMap(np.rint(255 * values.clip(0, 1)).astype(np.uint8), cv2.COLORMAP_JET)[:, :, ::-1]
    return image // 2 + colors // 2


def scaled(values):
    """Tensor of values from 0 -> the same with 1 as the largest."""
    return values / values.max().clamp(min=torch.finfo(values.dtype).tiny)


def titled(image, text, *, width=None):
    """image, scaled to width pixels, with a line of text above."""
    if width:
        size = width, max(1, round(image.shape[0] * width / image.shape[1]))
        image = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST if width > image.shape[1] else cv2.INTER_AREA)
    line = np.full((_TITLE, image.shape[1], 3), 255, np.uint8)
    cv2.putText(line, text, (2, _TITLE - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([line, image])


def grid(rows):
    """Rows of pictures -> one picture, white between and behind."""
    return _stacked([_stacked(row, axis=1) for row in rows], axis=0)


def _stacked(pictures, axis):
    other = 1 - axis
    most = max(picture.shape[other] for picture in pictures)
    parts = []
    for picture in pictures:
        padding = [(0, 0), (0, 0), (0, 0)]
        padding[other], padding[axis] = (0, most - picture.shape[other]), (0, _GAP)
        parts.append(np.pad(picture, padding, constant_values=255))
    return np.concatenate(parts, axis)
