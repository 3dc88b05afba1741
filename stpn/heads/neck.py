"""detectron2's FPN, fed by features instead of by a backbone that it owns."""

from detectron2.modeling import Backbone
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool


class _Features(Backbone):
    """Stands where FPN expects its bottom-up network, and passes features through. It has no weights."""

    def __init__(self, shape, size_divisibility):
        super().__init__()
        self._shape, self._size_divisibility = dict(shape), size_divisibility

    def forward(self, features):
        return features

    def output_shape(self):
        return self._shape

    @property
    def size_divisibility(self):
        return self._size_divisibility


def build_feature_pyramid(cfg, backbone):
    """detectron2's FPN over backbone.output_shape(): {"res2": ...} -> {"p2", ..., "p6"}, cfg.MODEL.FPN.

    The prompts reach the encoder in the meta-architecture's own call, so the pyramid must not own the encoder.
    """
    return FPN(
        bottom_up=_Features(backbone.output_shape(), backbone.size_divisibility),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
