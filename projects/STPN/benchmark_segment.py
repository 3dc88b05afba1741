"""Peak memory of one call of a segmenter's segment, for benchmark_vis.py: each video in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

import stpn  # noqa: F401  registers encoders and tasks, in the new process, too
from stpn.engine.model import build_model

MB = 2**20


class MovingPicture:
    """A video of `length` frames as models take it: a coarse picture that drifts, made when it is asked for."""

    def __init__(self, length, size):
        self.length, self._size = length, size
        self._picture = np.random.default_rng(0).integers(0, 256, (3, 16, 16), dtype=np.uint8)

    def __iter__(self):
        return map(self._frame, range(self.length))

    def select(self, indices):
        return map(self._frame, indices)

    def _frame(self, t):
        height, width = self._size
        small = torch.from_numpy(np.roll(self._picture, t, axis=2))[None].float()
        image = torch.nn.functional.interpolate(small, self._size, mode="bilinear")[0].to(torch.uint8)
        return {"image": image, "height": height, "width": width}


def measure_memory(cfg, *, counts, size, threads):
    """-> {frames: what segment_once returns}."""
    found = {}
    for count in counts:  # spawn: a forked process would begin with this one's memory
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found[count] = pool.submit(segment_once, cfg, count, size, threads).result()
    return found


def segment_once(cfg, count, size, threads):
    """Segment one video of count frames, after one of two frames. -> MB: "before": the most held so far, "peak": the
    most held in the end, "results": results as JSON; "gpu": the most that tensors took there, where the model is."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    model.segment(MovingPicture(2, size))
    before, on_gpu = most_held(), model.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    results = model.segment(MovingPicture(count, size))
    found = {"before": before, "peak": most_held(), "results": len(json.dumps(results)) / MB}
    return {**found, "gpu": torch.cuda.max_memory_allocated() / MB} if on_gpu else found


def memory_text(found):
    """What measure_memory returns -> a table, and what it comes to."""
    few, many = sorted(found)
    ratio = (found[many]["peak"] - found[many]["results"]) / (found[few]["peak"] - found[few]["results"])
    lines = [[count, *(f"{mb:.1f}" for mb in found[count].values())] for count in (few, many)]
    heads = [f"{name}, MB" for name in found[few]]
    text = f"peak without results, {many} frames to {few}: {ratio:.3f}"
    if "gpu" in found[few]:
        text += f"; on the GPU {found[many]['gpu'] / found[few]['gpu']:.3f}"
    return tabulate(lines, ["frames", *heads], disable_numparse=True) + "\n\n" + text


def most_held():
    """MB that this process has held at most. Linux's own count of it: getrusage includes the parent's before exec."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (MB if sys.platform == "darwin" else 1024)  # bytes there, kB elsewhere
