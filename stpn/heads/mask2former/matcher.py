"""HungarianMatcher: which query answers for which object of a frame (Mask2Former's matching cost).

B frames, Q queries, K classes, n objects of one frame, P points, h w mask predictions, H W target masks.
Nothing here is differentiated: the matching only chooses the pairs that the losses of criterion.py compare.
"""

import torch
import torch.nn.functional as F
from detectron2.projects.point_rend.point_features import point_sample
from scipy.optimize import linear_sum_assignment

# In place of a cost that is not a number: worse than any real one, and small enough that the sum of the other costs
# beside it keeps its digits. scipy refuses a matrix with NaN, and the run would die of one overflow.
_IMPOSSIBLE = 1e8


class HungarianMatcher:
    """One-to-one matching of queries and objects with the smallest total of

        class_weight * -p(class) + mask_weight * BCE + dice_weight * Dice,

    the latter two on num_points random points, drawn once a frame and shared by all its queries and objects.
    """

    def __init__(self, *, class_weight, mask_weight, dice_weight, num_points):
        self.class_weight, self.mask_weight, self.dice_weight = class_weight, mask_weight, dice_weight
        self.num_points = num_points

    @torch.no_grad()
    def __call__(self, outputs, targets):
        """outputs: "pred_logits" (B, Q, K+1), "pred_masks" (B, Q, h, w) logits; targets: B dicts of "labels" (n,)
        and "masks" (n, H, W). -> B pairs of int64 tensors on the CPU (queries ascending, their objects), of length
        min(Q, n)."""
        logits, masks = outputs["pred_logits"], outputs["pred_masks"]
        with torch.autocast(masks.device.type, enabled=False):
            # All costs before the first copy to the CPU, which waits for the device.
            costs = [self.cost(*frame) for frame in zip(logits, masks, targets, strict=True)]
        return [tuple(map(torch.as_tensor, linear_sum_assignment(cost.double().cpu()))) for cost in costs]

    def cost(self, logits, masks, target):
        """One frame: logits (Q, K+1), masks (Q, h, w), target {"labels", "masks"} -> finite (Q, n) fp32."""
        # Drawn for a frame without objects, too: what later frames draw must not depend on what is in this one.
        points = torch.rand(1, self.num_points, 2, device=masks.device)
        predicted = point_sample(masks[None].float(), points, align_corners=False)[0]
        wanted = point_sample(target["masks"][None].to(predicted), points, align_corners=False)[0]
        cost = (
            -self.class_weight * logits.float().softmax(-1)[:, target["labels"]]
            + self.mask_weight * pairwise_bce(predicted, wanted)
            + self.dice_weight * pairwise_dice(predicted, wanted)
        )
        return cost.nan_to_num(nan=_IMPOSSIBLE, posinf=_IMPOSSIBLE, neginf=_IMPOSSIBLE)


def pairwise_bce(logits, wanted):
    """logits (Q, P), wanted (n, P) in [0, 1] -> (Q, n): binary cross entropy, mean over the points."""
    positive, negative = F.softplus(-logits), F.softplus(logits)  # -log p and -log(1 - p)
    return (positive @ wanted.T + negative @ (1 - wanted).T) / logits.shape[1]


def pairwise_dice(logits, wanted):
    """logits (Q, P), wanted (n, P) in [0, 1] -> (Q, n): 1 - (2ab + 1) / (a + b + 1) with a = sigmoid(logits)."""
    share = logits.sigmoid()
    total = share.sum(1)[:, None] + wanted.sum(1)[None]
    return 1 - (2 * share @ wanted.T + 1) / (total + 1)
