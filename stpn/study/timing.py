"""Comparing the speed of two things on a machine that is not quiet: interleaved pairs, with a control.

A is the baseline, B the candidate. They take turns, A B B A A B B A ..., so that what slows the machine for a
while slows both, and neither always comes first. B's speed relative to A's is the median over the pairs of
seconds(A) / seconds(B); above 1, B is faster. In the same rounds A is timed against itself: how far that is
from 1 says how far any other ratio of the run can be trusted.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from tabulate import tabulate

from ..errors import InputError

CONTROL = "A again"
TOLERANCE = 0.02  # A against A further from 1 than this: nothing can be judged
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Arm:
    """One thing to time. parts: (work, weight) pairs, work() without arguments; the seconds for one frame are
    the sum of weight * seconds(work), so work that does 16 frames has the weight 1/16."""

    name: str
    parts: tuple


@dataclass(frozen=True)
class Group:
    """Candidates that are compared with one baseline. part: "backbone" or "detector", for the table."""

    part: str
    baseline: Arm
    candidates: tuple


def make_timer(clock, device, threads):
    """-> timer(work) -> seconds. clock: "wall", or "cpu" (the process's own processor time, which other
    programs disturb less); on a GPU events around the work, with everything before them done."""
    device = torch.device(device)
    if clock == "cpu" and (device.type != "cpu" or threads != 1):
        raise InputError(f"--clock cpu measures one thread on the CPU, got {threads} on {device.type}: a "
                         "thread that waits would count as work; add --threads 1 --device cpu, or take "
                         "--clock wall")
    if device.type == "cuda":
        return _cuda_seconds
    now = CLOCKS[clock]

    def timer(work):
        start = now()
        work()
        return now() - start

    return timer


def _cuda_seconds(work):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000  # it is in ms


def warm_up(group, passes):
    """Every work of the group, at least `passes` frames of it."""
    for arm in (group.baseline, *group.candidates):
        frames = 1 / sum(weight for _, weight in arm.parts)
        for _ in range(max(1, math.ceil(passes / frames))):
            for work, _ in arm.parts:
                work()


def interleave(group, *, pairs, timer, progress=lambda done: None):
    """-> {name of candidate, and CONTROL: [(seconds of A, seconds of B), ...] for one frame, `pairs` long}.

    Two pairs at a time: A B B A for each candidate and then for the control; an odd last pair is A B.
    """
    arms = [*group.candidates, Arm(CONTROL, group.baseline.parts)]
    times = {arm.name: [] for arm in arms}
    for done in range(0, pairs, 2):
        for arm in arms:
            times[arm.name] += _abba(group.baseline, arm, timer, both=done + 1 < pairs)
        progress(min(done + 2, pairs))
    return times


def _abba(a, b, timer, *, both):
    order = (a, b, b, a) if both else (a, b)
    t = [sum(weight * timer(work) for work, weight in arm.parts) for arm in order]
    return [(t[0], t[1]), (t[3], t[2])] if both else [(t[0], t[1])]


def summary(pairs):
    """[(seconds of A, of B)] -> ratio (median of the pairs' A / B), quartiles, best (ratio of the two least
    times), and frames per second from the median times."""
    a, b = np.array(pairs).T
    ratios = a / b
    return {"ratio": float(np.median(ratios)), "quartiles": np.percentile(ratios, [25, 75]).tolist(),
            "best": float(a.min() / b.min()), "fps": float(1 / np.median(b)),
            "baseline_fps": float(1 / np.median(a)), "seconds_per_frame": np.array(pairs).tolist()}


def rows(group, times):
    """Times of interleave -> one dict per candidate, each with the control of its group."""
    control = summary(times[CONTROL])
    judged = abs(control["ratio"] - 1) <= TOLERANCE
    return [{"part": group.part, "candidate": arm.name, "baseline": group.baseline.name,
             "pairs": len(times[arm.name]), **summary(times[arm.name]), "control": control, "judged": judged}
            for arm in group.candidates]


def table(found):
    """Rows -> the table and the sentence below it."""
    spread = "{:.3f} to {:.3f}".format
    number = "{:.3f}".format
    lines = [[row["part"], row["candidate"], row["baseline"], number(row["fps"]), number(row["baseline_fps"]),
              number(row["ratio"]), spread(*row["quartiles"]), number(row["best"]),
              number(row["control"]["ratio"]), spread(*row["control"]["quartiles"])] for row in found]
    head = ["", "B", "A", "B fps", "A fps", "B/A", "quartiles", "best", "A/A", "A/A quartiles"]
    return tabulate(lines, head, disable_numparse=True) + "\n\n" + verdict(found)


def verdict(found):
    """Whether the machine was quiet enough, in a sentence."""
    far = sorted({f"{row['part']}, {row['baseline']}: {row['control']['ratio']:.3f}"
                  for row in found if not row["judged"]})
    if not far:
        return f"A against A is within {TOLERANCE:.0%} of 1 everywhere: the ratios can be judged."
    return (f"Machine too noisy to judge: A against A is further than {TOLERANCE:.0%} from 1 "
            f"({'; '.join(far)}). Run again on a quiet machine, with more --pairs, or with "
            "--threads 1 --clock cpu.")
