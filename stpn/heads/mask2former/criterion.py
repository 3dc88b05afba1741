"""SetCriterion: Mask2Former's losses; every decoder layer is matched and supervised by itself.

B frames, Q queries, K classes, n objects of a frame, N matched pairs of all frames, P points, h w mask predictions,
H W target masks. Each frame is an image of its own: nothing here knows of video.
"""

import torch
import torch.nn.functional as F
from detectron2.projects.point_rend.point_features import get_uncertain_point_coords_with_randomness, point_sample
from detectron2.utils import comm
from torch import nn


class SetCriterion(nn.Module):
    """Class loss over all queries, mask and Dice loss over the matched ones, for the final output and each of
    "aux_outputs". Computed in fp32, also under autocast.

    matcher: a HungarianMatcher; num_points, oversample_ratio, importance_sample_ratio: PointRend's sampling.
    """

    def __init__(
        self, *, num_classes, matcher, class_weight, mask_weight, dice_weight, no_object_weight, num_points,
        oversample_ratio, importance_sample_ratio,
    ):  # fmt: skip
        super().__init__()
        self.num_classes, self.matcher = num_classes, matcher
        self.weights = {"loss_ce": class_weight, "loss_mask": mask_weight, "loss_dice": dice_weight}
        self.sampling = (num_points, oversample_ratio, importance_sample_ratio)
        weights = torch.ones(num_classes + 1)
        weights[-1] = no_object_weight
        self.register_buffer("empty_weight", weights)  # its name in the published checkpoints

    def forward(self, outputs, targets):
        """outputs: {"pred_logits": (B, Q, K+1), "pred_masks": (B, Q, h, w) logits, "aux_outputs": [the same two]};
        targets: B dicts {"labels": (n,) int64 in [0, K), "masks": (n, H, W) bool or 0..1}, padded to the batch.

        -> weighted scalar losses loss_ce, loss_mask, loss_dice, and with suffix _0, _1, ... those of aux_outputs.
        Frames without objects are legal, in all of the batch too: the mask losses are then 0, with a gradient.
        """
        count = count_masks(targets, outputs["pred_masks"].device)
        # Random points are drawn in this order: the final output first, then the layers.
        layers = {"": outputs, **{f"_{i}": layer for i, layer in enumerate(outputs.get("aux_outputs", ()))}}
        losses = {}
        for suffix, layer in layers.items():
            for name, loss in self._layer_losses(layer, targets, count).items():
                losses[name + suffix] = self.weights[name] * loss
        return losses

    def _layer_losses(self, outputs, targets, count):
        logits, masks = outputs["pred_logits"], outputs["pred_masks"]
        with torch.autocast(masks.device.type, enabled=False):
            logits, masks = logits.float(), masks.float()
            pairs = self.matcher({"pred_logits": logits, "pred_masks": masks}, targets)
            losses = {"loss_ce": self._class_loss(logits, targets, pairs)}
            losses["loss_mask"], losses["loss_dice"] = self._mask_losses(masks, targets, pairs, count)
        return losses

    def _class_loss(self, logits, targets, pairs):
        """Cross entropy over K+1 classes, queries without an object want the last; mean weighted by empty_weight."""
        wanted = torch.full(logits.shape[:2], self.num_classes, dtype=torch.int64, device=logits.device)
        for row, target, (queries, objects) in zip(wanted, targets, pairs, strict=True):
            row[queries] = target["labels"][objects]
        return F.cross_entropy(logits.transpose(1, 2), wanted, self.empty_weight)

    def _mask_losses(self, masks, targets, pairs, count):
        """-> (binary cross entropy, Dice), sums over the pairs divided by count."""
        if not sum(len(queries) for queries, _ in pairs):
            # Zero, but reached from every parameter: processes that train together wait for all gradients. Not
            # 0 * masks.sum(), which is NaN where one logit overflowed in half precision.
            zero = masks.flatten()[:0].sum()
            return zero, zero
        predicted = torch.cat([frame[queries] for frame, (queries, _) in zip(masks, pairs, strict=True)])[:, None]
        wanted = [target["masks"][objects] for target, (_, objects) in zip(targets, pairs, strict=True)]
        wanted = torch.cat(wanted)[:, None].to(predicted)
        with torch.no_grad():
            points = get_uncertain_point_coords_with_randomness(predicted, uncertainty, *self.sampling)
            wanted = point_sample(wanted, points, align_corners=False)[:, 0]
        predicted = point_sample(predicted, points, align_corners=False)[:, 0]
        return bce_loss(predicted, wanted) / count, dice_loss(predicted, wanted) / count


def uncertainty(logits):
    """Highest where the mask is undecided, at logit 0."""
    return -logits.abs()


def bce_loss(logits, wanted):
    """(N, P) both, wanted in [0, 1] -> binary cross entropy, mean over the points, sum over the pairs."""
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(1).sum()


def dice_loss(logits, wanted):
    """(N, P) both, wanted in [0, 1] -> 1 - (2ab + 1) / (a + b + 1) with a = sigmoid(logits), sum over the pairs."""
    share = logits.sigmoid()
    return (1 - (2 * (share * wanted).sum(1) + 1) / (share.sum(1) + wanted.sum(1) + 1)).sum()


def count_masks(targets, device):
    """Objects of the batch, mean over the processes, at least 1: each object weighs the same wherever it lies."""
    count = torch.tensor(float(sum(len(target["labels"]) for target in targets)), device=device)
    if comm.get_world_size() > 1:
        torch.distributed.all_reduce(count)
    return (count / comm.get_world_size()).clamp(min=1)
