"""The tiny VIS model of the recorded MinVIS outputs, and small videos for it."""

import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Instances

from stpn import add_stpn_config

SETTINGS = {
    "MODEL.META_ARCHITECTURE": "VideoInstanceSegmenter", "MODEL.DEVICE": "cpu", "MODEL.BACKBONE.NAME": "PromptedSwin",
    "MODEL.BACKBONE.FREEZE_AT": 0, "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375], "MODEL.SWIN.EMBED_DIM": 24, "MODEL.SWIN.DEPTHS": [2, 2, 2, 2],
    "MODEL.SWIN.WINDOW_SIZE": 4, "MODEL.SWIN.DROP_PATH_RATE": 0.0, "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 40,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 64, "MODEL.SEM_SEG_HEAD.MASK_DIM": 64,
    "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS": 2, "MODEL.MASK_FORMER.HIDDEN_DIM": 64,
    "MODEL.MASK_FORMER.DIM_FEEDFORWARD": 128, "MODEL.MASK_FORMER.DEC_LAYERS": 4,
    "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES": 12, "MODEL.MASK_FORMER.TRAIN_NUM_POINTS": 64,
    "MODEL.STPN.PREDICTOR.NUM_HEADS": 4, "INPUT.FORMAT": "RGB", "INPUT.MAPPER": "VideoInstanceMapper",
    "INPUT.CLIP_CROP.ENABLED": False,
}  # fmt: skip


def vis_config(*overrides):
    cfg = get_cfg()
    add_stpn_config(cfg)
    cfg.merge_from_list([part for pair in SETTINGS.items() for part in pair])
    cfg.merge_from_list(list(overrides))
    return cfg


def vis_model(*overrides, seed=0):
    torch.manual_seed(seed)
    return build_model(vis_config(*overrides)).eval()


def official_model(fixtures_dir):
    """The baseline with the weights of the recorded MinVIS."""
    model = vis_model("MODEL.STPN.ENABLED", "False")
    model.load_state_dict(torch.load(fixtures_dir / "vis" / "state_dict.pt", weights_only=True))
    return model


class Frames:
    """A video as models take it: length, iteration, select."""

    def __init__(self, images, size=None):
        self.length = len(images)
        self.items = [{"image": image, "height": (size or image.shape[-2:])[0],
                       "width": (size or image.shape[-2:])[1]} for image in images]

    def __iter__(self):
        return iter(self.items)

    def select(self, indices):
        return (self.items[i] for i in indices)


def random_frames(count, *, seed=0, size=(64, 72), frame=(50, 61)):
    """Smooth random pictures, each a little off the one before."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(1, 3, 8, 9, generator=generator)
    images = []
    for _ in range(count):
        base = (base + 0.1 * torch.randn(base.shape, generator=generator)).clamp(0, 1)
        images.append((torch.nn.functional.interpolate(base, size, mode="bilinear")[0] * 255).to(torch.uint8))
    return Frames(images, frame)


def training_sample(seed, *, objects=2, supports=2, size=(64, 64), num_classes=40):
    """As VideoInstanceMapper returns it: rectangles on noise."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(objects, *size, dtype=torch.bool)
    for i in range(objects):
        masks[i, 8 + 20 * i:24 + 20 * i, 10:40] = True
    instances = Instances(size, gt_masks=BitMasks(masks), gt_boxes=BitMasks(masks).get_bounding_boxes(),
                          gt_classes=torch.arange(objects) % num_classes, gt_ids=torch.arange(objects))
    images = torch.randint(0, 256, (1 + supports, 3, *size), generator=generator, dtype=torch.uint8)
    return {"image": images[0], "support_images": images[1:], "instances": instances, "file_name": f"noise {seed}"}
