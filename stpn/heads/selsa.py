"""SELSA (arXiv 1907.06390): a frame's proposals aggregate those of its support frames before they are classified.

N proposals of the current frame, M of all its support frames, C width of the fully connected layers.

    x = fc_i(x); r = fc_i(r)                   the current frame's and the support frames' proposals
    x = relu(x + attention_i(x, r)); r = relu(r)

The aggregation acts before the ReLU, and support frames are never aggregated themselves: what they contribute (one
key and one value a proposal and layer) does not depend on the current frame. It is computed once a support frame.
"""

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.modeling import ROI_BOX_HEAD_REGISTRY, ROI_HEADS_REGISTRY, StandardROIHeads
from detectron2.modeling.roi_heads import FastRCNNConvFCHead
from torch import nn


class Aggregator(nn.Module):
    """Attention of proposals (N, C) over support proposals (M, C): scaled dot product, num_heads heads, no mask, no
    position. Initialised as the published module: torch's default for linear layers."""

    def __init__(self, width, num_heads):
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} does not divide into {num_heads} heads; set MODEL.SELSA.NUM_HEADS to a "
                             "divisor of MODEL.ROI_BOX_HEAD.FC_DIM")
        self.num_heads = num_heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def project(self, support):
        """(M, C) -> keys and values, (M, C) each."""
        return self.key(support), self.value(support)

    def forward(self, x, projected):
        """x: (N, C); projected: keys and values -> (N, C), to be added to x."""
        if not len(projected[0]):
            # No proposal in any support frame: nothing to aggregate. The weights stay in the graph, because
            # processes that train together wait for the gradient of each.
            return x * 0 + 0 * sum(p.sum() for p in self.parameters())
        query, key, value = (y.unflatten(-1, (self.num_heads, -1)).transpose(0, 1)[None]
                             for y in (self.query(x), *projected))
        out = F.scaled_dot_product_attention(query, key, value)[0]
        return self.out(out.transpose(0, 1).flatten(1))


def join_support(parts):
    """Support of several frames, each a list over layers of (keys (M, C), values (M, C)) -> that of all of them."""
    return [tuple(map(torch.cat, zip(*layer))) for layer in zip(*parts)]


@ROI_BOX_HEAD_REGISTRY.register()
class SelsaBoxHead(FastRCNNConvFCHead):
    """detectron2's fully connected box head with an Aggregator after each layer; fc1, fc2, ... keep their names."""

    @configurable
    def __init__(self, input_shape, *, num_heads, **layers):
        """layers: arguments of FastRCNNConvFCHead; conv_dims must be empty, fc_dims not."""
        if layers["conv_dims"] or not layers["fc_dims"]:
            raise ValueError(f"SelsaBoxHead got {len(layers['conv_dims'])} convolutions and {len(layers['fc_dims'])} "
                             "fully connected layers; set MODEL.ROI_BOX_HEAD.NUM_CONV to 0 and NUM_FC to at least 1")
        super().__init__(input_shape, **layers)
        self.aggregators = nn.ModuleList(Aggregator(fc.out_features, num_heads) for fc in self.fcs)

    @classmethod
    def from_config(cls, cfg, input_shape):
        return {**super().from_config(cfg, input_shape), "num_heads": cfg.MODEL.SELSA.NUM_HEADS}

    def support(self, pooled):
        """(M, C_in, h, w) pooled proposals of a support frame -> list over layers of keys and values, (M, C) each."""
        rows, projected = pooled.flatten(1), []
        for fc, aggregator in zip(self.fcs, self.aggregators):
            rows = fc(rows)
            projected.append(aggregator.project(rows))
            rows = F.relu(rows)
        return projected

    def forward(self, pooled, support, *, with_self=False):
        """pooled: (N, C_in, h, w) proposals of one frame; support: as from join_support -> (N, C).

        with_self: the frame's own proposals count as support, too; they share the first layer's product.
        """
        x, own = pooled.flatten(1), None
        for fc, aggregator, projected in zip(self.fcs, self.aggregators, support, strict=True):
            x = fc(x)
            if with_self:
                own = x if own is None else fc(own)
                projected = tuple(map(torch.cat, zip(projected, aggregator.project(own))))
                own = F.relu(own)
            x = F.relu(x + aggregator(x, projected))
        return x


@ROI_HEADS_REGISTRY.register()
class SelsaROIHeads(StandardROIHeads):
    """StandardROIHeads (boxes only) whose box head takes the support of each image.

    As published, the current frame is one of its own supports when testing, and is not in training.
    """

    @configurable
    def __init__(self, **parts):
        """parts: arguments of StandardROIHeads."""
        super().__init__(**parts)
        if not isinstance(self.box_head, SelsaBoxHead):
            raise ValueError(f"SelsaROIHeads got {type(self.box_head).__name__}; set MODEL.ROI_BOX_HEAD.NAME to "
                             "SelsaBoxHead")

    @classmethod
    def from_config(cls, cfg, input_shape):
        if cfg.MODEL.MASK_ON or cfg.MODEL.KEYPOINT_ON or cfg.MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES:
            raise ValueError("SelsaROIHeads finds boxes only; turn MODEL.MASK_ON, MODEL.KEYPOINT_ON and "
                             "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES off")
        return super().from_config(cfg, input_shape)

    def embed(self, features, proposals):
        """Support frames' features {name: (B, ...)} and B Instances with proposal_boxes -> B supports."""
        return [self.box_head.support(pooled) for pooled in self._pool(features, proposals)]

    def forward(self, images, features, proposals, targets=None, *, support=None):
        """As StandardROIHeads.forward; support: one of each image (see join_support), in testing None for nothing."""
        if self.training:
            proposals = self.label_and_sample_proposals(proposals, targets)
        pooled = self._pool(features, proposals)
        if support is None and self.training:
            raise ValueError("SelsaROIHeads got no support frames to train with; set MODEL.META_ARCHITECTURE to "
                             "SelsaDetector")
        support = support or [self.box_head.support(own[:0]) for own in pooled]
        x = torch.cat([self.box_head(own, others, with_self=not self.training)
                       for own, others in zip(pooled, support, strict=True)])
        predictions = self.box_predictor(x)
        if self.training:
            return proposals, self.box_predictor.losses(predictions, proposals)
        return self.box_predictor.inference(predictions, proposals)[0], {}

    def _pool(self, features, proposals):
        """-> for each image (N, C_in, h, w)."""
        boxes = [found.proposal_boxes for found in proposals]
        pooled = self.box_pooler([features[name] for name in self.box_in_features], boxes)
        return pooled.split([len(b) for b in boxes])
