"""The toy set and its detector, small enough to train some iterations in a test."""

import contextlib

import pytest
import torch
from detectron2.engine import defaults

from stpn.data.toy_layout import write_toy

# 0.1M parameters on 48 x 48 pixels: an iteration takes 0.1 s.
TINY = {
    "MODEL.WEIGHTS": "", "MODEL.SWIN.EMBED_DIM": 8, "MODEL.SWIN.DEPTHS": [1, 1, 2, 1],
    "MODEL.SWIN.NUM_HEADS": [1, 1, 1, 1], "MODEL.SWIN.WINDOW_SIZE": 3, "MODEL.STPN.PREDICTOR.NUM_HEADS": 2,
    "MODEL.FPN.OUT_CHANNELS": 16, "MODEL.ROI_BOX_HEAD.FC_DIM": 32, "MODEL.ANCHOR_GENERATOR.SIZES": [[20], [30]],
    "INPUT.MIN_SIZE_TRAIN": [48], "INPUT.MIN_SIZE_TEST": 48, "SOLVER.IMS_PER_BATCH": 2, "SOLVER.WARMUP_ITERS": 0,
}  # fmt: skip


@contextlib.contextmanager
def toy_sets(root, *, train, val):
    """Inside, toy_vid_train and toy_vid_val have so many videos, and one thread works, so that sums have one order."""
    write_toy(root / "toy_vid", split="train", videos=train, seed=5)
    write_toy(root / "toy_vid", split="val", videos=val, seed=5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(root))
        patch.setattr(defaults, "collect_env_info", lambda: "(skipped: it takes a second)")
        yield root
    torch.set_num_threads(threads)
