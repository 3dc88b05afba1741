"""Precise RoI pooling (arXiv 1807.11590) in plain PyTorch: the exact mean of the bilinear map over each bin."""

import torch


def precise_roi_pool(features, rois, size, *, scale=1.0):
    """features: (B, C, h, w); rois: (n, 5) of image index and x1 y1 x2 y2, times scale in cells of the map, whose
    values lie at whole numbers and which is zero outside. -> (n, C, size, size); zero for a RoI without area.

    The integral of a bilinear map over a rectangle separates into rows and columns, so it is two products of matrices.
    """
    h, w = features.shape[-2:]
    rows, heights = _coverage(rois[:, 2] * scale, rois[:, 4] * scale, size, h)
    columns, widths = _coverage(rois[:, 1] * scale, rois[:, 3] * scale, size, w)
    picked = features[rois[:, 0].long()]
    sums = torch.einsum("nyi,ncij,nxj->ncyx", rows, picked, columns)
    areas = (heights * widths)[:, None, None, None]
    return torch.where(areas > 0, sums / areas.clamp(min=torch.finfo(sums.dtype).tiny), 0.0)


def _coverage(low, high, bins, cells):
    """low, high: (n,) -> (n, bins, cells) integral over each bin of each cell's hat function, and (n,) its length."""
    length = (high - low).clamp(min=0) / bins
    edges = low[:, None] + length[:, None] * torch.arange(bins + 1, device=low.device)
    below = _hat_integral(edges[..., None] - torch.arange(cells, device=low.device))
    return below[:, 1:] - below[:, :-1], length


def _hat_integral(u):
    """Integral of max(0, 1 - |x|) from minus infinity to u."""
    u = u.clamp(-1, 1)
    return torch.where(u < 0, (u + 1) ** 2 / 2, 0.5 + u - u ** 2 / 2)
