#!/usr/bin/env python3
"""Object tracking: speed of STPN relative to its un-prompted baseline, what each setting costs, memory, parameters.

    benchmark_track.py --threads 1 --clock cpu --output speed.json
    benchmark_track.py --threads 1 --clock cpu --compare source
    benchmark_track.py --memory --small

Speed: all arms track the same target in the same frames with the same weights, in turns, with A against itself as a
control (stpn/study/timing.py); B/A above 1 means that B is faster. All is in it from the decoded frame to the box: the
search region cut out, both heads, new templates every UPDATE_INTERVAL frames, a support pass every STRIDE frames. A
measurement holds whole rounds of both; it begins when all supports and templates are there.

--compare resize: supports at full and at half resolution (INPUT.SUPPORT.RESIZE); supports: FRAMES_PER_SIDE of
--supports; source: what supports are (INPUT.SUPPORT.SOURCE); anchor: supports on a grid, or at fixed distances
from each frame (INPUT.SUPPORT.ANCHOR). What is not compared is the configuration's own.

Memory: one endless video; what the process holds after each of --memory-frames, and the most that it has held.

Weights are random and frames noise; the corner head runs, but the box is kept where it is, so that all arms look at
regions of one size. --small takes the toy set's network instead of CvT-21. KEY VALUE pairs come last and override the
configuration.
"""

import argparse
import math
import os
import sys

import torch
from benchmark import frame_size, machine, positive, publish
from benchmark_checks import stream_memory
from benchmark_segment import most_held
from benchmark_track_arms import COMPARISONS, KeepingBox, candidates, check, group, noise_frames, target, variant

import stpn  # noqa: F401  registers encoders and tasks
from stpn.engine.config_file import PROJECT, load_config
from stpn.engine.model import build_model
from stpn.errors import InputError, run_script
from stpn.meta_arch import VideoObjectTracker
from stpn.study.timing import CLOCKS, interleave, make_timer, rows, table, warm_up

PARTS = ("backbone", "box_head", "score_branch", "prompt_predictor")


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", metavar="FILE", help="default: configs/stpn_got10k_cvt21_score.yaml, with "
                        "--small configs/toy/vot_stpn_score.yaml")
    parser.add_argument("--small", action="store_true", help="the toy set's network")
    parser.add_argument("--size", type=frame_size, default=(720, 1280), metavar="HxW", help="of the frames; default "
                        "720x1280. The target has a sixth of the shorter side")
    parser.add_argument("--compare", choices=COMPARISONS, default="resize", help="a row for each value of this "
                        "setting; default resize")
    parser.add_argument("--supports", type=positive, nargs="+", default=(1, 3, 7, 15), metavar="K",
                        help="of --compare supports; default 1 3 7 15")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), metavar="N")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help="cpu: processor time of one thread")
    parser.add_argument("--pairs", type=positive, metavar="N", help="default 6, on a GPU 30")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of speed")
    parser.add_argument("--memory-frames", type=positive, nargs=2, default=(50, 500), metavar="N")
    parser.add_argument("--output", metavar="FILE", help="all numbers as JSON")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides")
    return parser.parse_args(argv)


def configure(args):
    default = "toy/vot_stpn_score.yaml" if args.small else "stpn_got10k_cvt21_score.yaml"
    name = args.config_file or str(PROJECT / "configs" / default)
    return load_config(name, ["MODEL.WEIGHTS", "", "MODEL.DEVICE", args.device, *args.opts])


def build(cfg):
    """-> VideoObjectTracker in eval mode with random weights, its box kept."""
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    if not isinstance(model, VideoObjectTracker) or model.prompt_predictor is None or model.score_branch is None:
        raise InputError(f"the configuration builds a {type(model).__name__}, MODEL.STPN.ENABLED "
                         f"{cfg.MODEL.STPN.ENABLED}, MODEL.MIXFORMER.SCORE_HEAD {cfg.MODEL.MIXFORMER.SCORE_HEAD}; name "
                         "an STPN configuration of a tracker with a score head: its baseline is made from it")
    return variant(model, box_head=KeepingBox(model.box_head, model.settings.search_factor))


def measure_speed(args, model):
    gpu = torch.device(args.device).type == "cuda"
    timer = make_timer(args.clock, args.device, args.threads)
    stride, interval = model.sampler.stride, model.settings.update_interval
    models, box = candidates(model, args.compare, args.supports), target(args.size)
    # Whole support cycles and whole update intervals: every measurement holds the same work, wherever it begins.
    items = noise_frames(math.lcm(stride, interval), args.size)
    with torch.inference_mode():
        few = noise_frames(max(stride, interval) + 2, args.size)
        report = {"prompted_minus_unprompted": {name: check(m, few, box) for name, m in models.items()}}
        arms = group(models, items, box)
        full = max(model.settings.online_templates * interval, *(m.sampler.reach_back for m in models.values()))
        warm_up(arms, full + 1)
        times = interleave(arms, pairs=args.pairs or (30 if gpu else 6), timer=timer,
                           progress=lambda done: print(f"{done} pairs", file=sys.stderr, flush=True))
    return {**report, "rows": rows(arms, times)}


def measure_memory(args, cfg, model):
    """-> {"memory_mb": {frames: MB held}, "memory_ratio", "peak_mb": the most that was held}."""
    counts = sorted(args.memory_frames)
    with torch.inference_mode():
        found = stream_memory(cfg, model, size=args.size, counts=counts, boxes=[target(args.size)])
    return {"memory_mb": found, "memory_ratio": found[counts[-1]] / found[counts[0]], "peak_mb": most_held()}


def parameters(model):
    counts = {name: sum(p.numel() for p in model.get_submodule(name).parameters()) for name in PARTS}
    return {**counts, "baseline": sum(counts.values()) - counts["prompt_predictor"], "STPN": sum(counts.values())}


def text(report):
    counts = ", ".join(f"{name} {count / 1e6:.2f}M" for name, count in report["parameters"].items())
    if "rows" in report:
        return f"parameters: {counts}\n\n{table(report['rows'])}"
    held = ", ".join(f"{mb:.1f} MB after {count} frames" for count, mb in report["memory_mb"].items())
    ratio, peak = report["memory_ratio"], report["peak_mb"]
    return f"parameters: {counts}\n\nmemory: {held}; ratio {ratio:.4f}; the most in all: {peak:.1f} MB"


def main(argv=None):
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    cfg = configure(args)
    model = build(cfg)
    report = {"machine": machine(args), "settings": vars(args), "parameters": parameters(model)}
    report.update(measure_memory(args, cfg, model) if args.memory else measure_speed(args, model))
    publish(report, text(report), args.output)


if __name__ == "__main__":
    run_script(main)
