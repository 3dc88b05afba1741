#!/usr/bin/env python3
"""Stage 1 of the toy models' shared start: the encoder as a classifier of clean object crops.

    pretrain_toy.py --config-file configs/toy/baseline.yaml --output output/toy/classifier.safetensors

It stands for ImageNet pre-training. Stage 2 (detector on clean stills) and 3 (video) are train_net.py runs.
"""

import argparse
import time

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
import numpy as np
import torch
import torch.nn.functional as F
from detectron2.modeling import build_backbone

from stpn.data.toy import CLASSES, crop_batch
from stpn.engine.checkpoint import export_safetensors
from stpn.engine.config_file import load_config
from stpn.errors import run_script


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--output", required=True, help="weights to write (.safetensors)")
    parser.add_argument("--iterations", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides")
    return parser.parse_args()


def crops(rng, count, mean, std):
    """-> (count, 3, 48, 48) normalised, (count,) labels."""
    images, labels = crop_batch(rng, count)
    images = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return (images - mean) / std, torch.as_tensor(np.asarray(labels), dtype=torch.long)


def accuracy(backbone, head, batch):
    backbone.eval()
    with torch.no_grad():
        images, labels = batch
        found = head(backbone(images)[backbone.embed_feature].mean((2, 3))).argmax(1)
    backbone.train()
    return (found == labels).float().mean().item()


def main():
    args = parse_arguments()
    torch.manual_seed(args.seed)
    cfg = load_config(args.config_file, args.opts)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD))
    backbone = build_backbone(cfg)
    head = torch.nn.Linear(backbone.embed_width, len(CLASSES))
    parameters = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, args.iterations, pct_start=0.1)
    rng, start = np.random.default_rng([args.seed, 1]), time.time()
    for i in range(args.iterations):
        images, labels = crops(rng, args.batch, mean, std)
        loss = F.cross_entropy(head(backbone(images)[backbone.embed_feature].mean((2, 3))), labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        schedule.step()
        if (i + 1) % 100 == 0:
            print(f"iteration {i + 1}: loss {loss.item():.3f}, {time.time() - start:.0f} s", flush=True)
    unseen = crops(np.random.default_rng([args.seed, 2]), 512, mean, std)
    print(f"accuracy on 512 unseen crops: {accuracy(backbone, head, unseen):.3f}")
    state = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    export_safetensors(state, args.output, metadata={"trained_by": "pretrain_toy.py", "seed": str(args.seed)})


if __name__ == "__main__":
    run_script(main)
