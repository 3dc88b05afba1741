"""A tracker's heads and losses: box by corners, score, exact RoI pooling."""

from .corner import CornerHead
from .losses import ciou_loss
from .roi import precise_roi_pool
from .score import ScoreHead

__all__ = ["CornerHead", "ScoreHead", "ciou_loss", "precise_roi_pool"]
