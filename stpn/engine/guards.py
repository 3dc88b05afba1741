"""Guards of the training loop: losses must be finite, and randomness must be repeatable."""

import random

import numpy as np
import torch
from detectron2.utils import comm


def check_losses(losses, *, iteration, batch):
    """Raise FloatingPointError on every process if a loss is NaN or Inf on any; call before backward().

    losses: {name: scalar tensor}; batch: the list of dataset dicts that they came from. All processes must
    call it in each iteration: one number is reduced, so that none goes on alone into a collective that the
    others never reach. The message names the iteration, the losses with their values and the batch's frames.
    """
    if not losses:
        return
    values = torch.stack([value.detach().float().reshape(()) for value in losses.values()])
    bad = (~torch.isfinite(values)).any().to(torch.int32)
    several = comm.get_world_size() > 1
    if several:
        torch.distributed.all_reduce(bad, op=torch.distributed.ReduceOp.MAX)
    if not bad.item():
        return
    text = ""
    if not torch.isfinite(values).all():
        pairs = zip(losses, values.tolist(), strict=True)
        numbers = ", ".join(f"{name}={value:.4g}" for name, value in pairs)
        text = f"process {comm.get_rank()}: {numbers}; frames: {_frames(batch)}"
    texts = [other for other in (comm.all_gather(text) if several else [text]) if other]
    raise FloatingPointError(
        f"loss is not finite at iteration {iteration}: {' | '.join(texts)}; nothing of this iteration was "
        "kept: look at these frames' annotations, or lower SOLVER.BASE_LR, and go on from the last checkpoint with "
        "--resume"
    )


def seed_iteration(seed, iteration, rank=0):
    """Seed torch, numpy and random as a pure function of (seed, iteration, rank).

    Called before each step it makes the model's own randomness (stochastic depth, sampled proposals) the same
    whether a run was interrupted or not. A negative seed means no repeatability, as in detectron2: nothing
    is done.
    """
    if seed < 0:
        return
    words = np.random.SeedSequence([seed, iteration, rank]).generate_state(4)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(words[2])
    random.seed(int(words[3]))


def _frames(batch, number=8):
    """File names of a batch's samples; whatever identifies a sample that has none."""
    names = []
    for sample in batch or ():
        frame = f"{sample.get('video_id', 'unknown video')}, frame {sample.get('frame_index', '?')}"
        names.append(str(sample.get("file_name") or frame))
    return ", ".join(names[:number] + (["..."] if len(names) > number else [])) or "unknown"
