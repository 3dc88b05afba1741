"""Pixel decoder and query decoder as one head over the encoder's features."""

from torch import nn

from .criterion import SetCriterion
from .decoder import QueryDecoder
from .matcher import HungarianMatcher
from .pixel_decoder import PixelDecoder


class Mask2FormerHead(nn.Module):
    """Features {"res2".."res5"} -> classes, masks and embeddings of Q queries, as QueryDecoder returns them.

    Under the name sem_seg_head its parameters are those of Mask2Former's and MinVIS's checkpoints.
    """

    def __init__(self, pixel_decoder, predictor):
        super().__init__()
        self.pixel_decoder = pixel_decoder
        self.predictor = predictor

    def forward(self, features):
        mask_features, levels = self.pixel_decoder(features)
        return self.predictor(levels, mask_features)


def build_mask2former_head(cfg, input_shape):
    """cfg: MODEL.SEM_SEG_HEAD and MODEL.MASK_FORMER; input_shape: of the encoder. -> Mask2FormerHead"""
    head, former = cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.MASK_FORMER
    if head.CONVS_DIM != former.HIDDEN_DIM:
        raise ValueError(f"MODEL.SEM_SEG_HEAD.CONVS_DIM is {head.CONVS_DIM} and MODEL.MASK_FORMER.HIDDEN_DIM "
                         f"{former.HIDDEN_DIM}; expected one width")
    if former.DEC_LAYERS < 2:
        raise ValueError(f"MODEL.MASK_FORMER.DEC_LAYERS is {former.DEC_LAYERS}; expected at least 2: the learned "
                         "queries and one layer")
    pixel_decoder = PixelDecoder(input_shape, conv_dim=head.CONVS_DIM, mask_dim=head.MASK_DIM,
                                 num_layers=head.TRANSFORMER_ENC_LAYERS, num_heads=former.NHEADS,
                                 dropout=former.DROPOUT)
    predictor = QueryDecoder(num_classes=head.NUM_CLASSES, width=former.HIDDEN_DIM, mask_dim=head.MASK_DIM,
                             num_queries=former.NUM_OBJECT_QUERIES, num_layers=former.DEC_LAYERS - 1,
                             num_heads=former.NHEADS, hidden=former.DIM_FEEDFORWARD)
    return Mask2FormerHead(pixel_decoder, predictor)


def build_criterion(cfg):
    """-> SetCriterion with the weights and numbers of points of cfg.MODEL.MASK_FORMER."""
    former = cfg.MODEL.MASK_FORMER
    weights = {"class_weight": former.CLASS_WEIGHT, "mask_weight": former.MASK_WEIGHT,
               "dice_weight": former.DICE_WEIGHT}
    matcher = HungarianMatcher(**weights, num_points=former.TRAIN_NUM_POINTS)
    return SetCriterion(num_classes=cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, matcher=matcher, **weights,
                        no_object_weight=former.NO_OBJECT_WEIGHT, num_points=former.TRAIN_NUM_POINTS,
                        oversample_ratio=former.OVERSAMPLE_RATIO,
                        importance_sample_ratio=former.IMPORTANCE_SAMPLE_RATIO)
