"""A tiny tracker, and small sequences for it."""

from types import SimpleNamespace

import cv2
import numpy as np
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model

from stpn import add_stpn_config

SETTINGS = {
    "MODEL.META_ARCHITECTURE": "VideoObjectTracker", "MODEL.DEVICE": "cpu", "MODEL.BACKBONE.NAME": "PromptedCvT",
    "MODEL.BACKBONE.FREEZE_AT": 0, "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375], "MODEL.CVT.WIDTHS": [16, 32, 64], "MODEL.CVT.DEPTHS": [1, 2, 3],
    "MODEL.CVT.NUM_HEADS": [1, 2, 4], "MODEL.CVT.DROP_PATH_RATES": [0.0, 0.0, 0.0], "MODEL.MIXFORMER.HEAD_DIM": 64,
    "MODEL.MIXFORMER.SCORE_HEAD": True, "MODEL.STPN.PREDICTOR.NUM_HEADS": 4, "INPUT.FORMAT": "RGB",
    "INPUT.MAPPER": "TrackingMapper", "INPUT.SUPPORT.TEST_POLICY": "causal", "INPUT.SUPPORT.STRIDE": 3,
    "INPUT.SUPPORT.FRAMES_PER_SIDE": 2, "INPUT.TRACKING.SEARCH_SIZE": 64, "INPUT.TRACKING.TEMPLATE_SIZE": 32,
    "TEST.TRACKING.SEARCH_FACTOR": 4.0, "TEST.TRACKING.UPDATE_INTERVAL": 4, "TEST.TRACKING.UPDATE_SCORE": 0.0,
}  # fmt: skip


def vot_config(*overrides):
    cfg = get_cfg()
    add_stpn_config(cfg)
    cfg.merge_from_list([part for pair in SETTINGS.items() for part in pair])
    cfg.merge_from_list(list(overrides))
    return cfg


def vot_model(*overrides, seed=0):
    """Weights are random but louder than at the start of training, so that prompts, templates and scores show."""
    torch.manual_seed(seed)
    model = build_model(vot_config(*overrides)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and ".query" not in name:
                parameter.mul_(3.0 if "backbone" in name else 1.5)
    return model


def frames_of(images):
    """uint8 (H, W, 3) images -> items as a tracker reads them."""
    return [{"frame": SimpleNamespace(image=image, index=t, time=t / 10), "height": image.shape[0],
             "width": image.shape[1]} for t, image in enumerate(images)]


def moving_square(count, *, seed=0, size=(60, 80), side=20):
    """-> (images, boxes): a bright textured square that moves over a dim texture."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.integers(0, 90, (8, 10, 3), dtype=np.uint8), size[::-1])
    target = cv2.resize(rng.integers(150, 255, (4, 4, 3), dtype=np.uint8), (side, side))
    images, boxes = [], []
    for t in range(count):
        x, y = round(10 + t * 30 / max(1, count)), round(15 + 8 * np.sin(t / 3))
        image = ground.copy()
        image[y:y + side, x:x + side] = target
        images.append(image)
        boxes.append([float(x), float(y), float(side), float(side)])
    return images, np.array(boxes)


def sample(seed=0, *, supports=2, present=1.0):
    """A training sample as TrackingMapper makes them."""
    generator = torch.Generator().manual_seed(seed)

    def crops(*shape):
        return torch.randint(0, 256, (*shape[:-1], 3, shape[-1], shape[-1]), generator=generator, dtype=torch.uint8)

    return {"image": crops(64), "templates": crops(2, 32), "support_images": crops(supports, 64),
            "box": torch.tensor([0.3, 0.35, 0.6, 0.7]), "present": present}
