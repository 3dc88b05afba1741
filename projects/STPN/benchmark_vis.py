#!/usr/bin/env python3
"""Video instance segmentation: speed of STPN relative to its un-prompted baseline, peak memory, parameters.

    benchmark_vis.py --threads 1 --clock cpu --output speed.json
    benchmark_vis.py --memory --small

Speed: both stream the same frames with the same weights, in turns, with A against itself as a control
(stpn/study/timing.py); B/A above 1 means that B is faster. All is in it from the prepared frame to the masks in its
own size: prompts on the grid, with one support pass for every STRIDE frames, at full and at half resolution.

Memory: model.segment on videos of both --memory-frames, each in a process of its own: the most that the process held
(on a GPU also the most that tensors took there), and the size of the results, run-length coded.

Weights are random and frames generated. --small takes the toy set's network and size instead of Swin-T's. KEY VALUE
pairs come last and override the configuration.
"""

import argparse
import math
import os
import sys
from unittest import mock

import torch
from benchmark import frame_size, machine, positive, publish
from benchmark_arms import HALF, Frames, going_on, random_frames, rebuilt
from benchmark_segment import measure_memory, memory_text

import stpn  # noqa: F401  registers encoders and tasks
from stpn.engine.config_file import PROJECT, load_config
from stpn.engine.model import build_model
from stpn.errors import InputError, run_script
from stpn.meta_arch import VideoInstanceSegmenter
from stpn.study.timing import CLOCKS, Arm, Group, interleave, make_timer, rows, table, warm_up

PARTS = ("backbone", "prompt_predictor", "sem_seg_head.pixel_decoder", "sem_seg_head.predictor")


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", metavar="FILE", help="default: configs/stpn_ytvis19_swint.yaml, with --small "
                        "configs/toy/vis_stpn.yaml")
    parser.add_argument("--small", action="store_true", help="the toy set's network; frames of 96x96")
    parser.add_argument("--size", type=frame_size, metavar="HxW", help="of the frames; default 480x864")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), metavar="N")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help="cpu: processor time of one thread")
    parser.add_argument("--pairs", type=positive, metavar="N", help="default 6, on a GPU 30")
    parser.add_argument("--cycles", type=positive, default=1, metavar="N", help="length of a measurement")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of speed")
    parser.add_argument("--memory-frames", type=positive, nargs=2, default=(50, 500), metavar="N")
    parser.add_argument("--output", metavar="FILE", help="all numbers as JSON")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides")
    args = parser.parse_args(argv)
    args.size = args.size or ((96, 96) if args.small else (480, 864))
    return args


def configure(args):
    default = "toy/vis_stpn.yaml" if args.small else "stpn_ytvis19_swint.yaml"
    name = args.config_file or str(PROJECT / "configs" / default)
    return load_config(name, ["MODEL.WEIGHTS", "", "MODEL.DEVICE", args.device, *args.opts])


def build(cfg):
    """-> VideoInstanceSegmenter in eval mode with random weights."""
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    if not isinstance(model, VideoInstanceSegmenter) or model.prompt_predictor is None:
        raise InputError(f"the configuration builds a {type(model).__name__}, MODEL.STPN.ENABLED "
                         f"{cfg.MODEL.STPN.ENABLED}; name an STPN configuration for video instance segmentation: its "
                         "baseline is made from it")
    return model


def variant(model, **changes):
    """Another segmenter around the same parts, with these arguments of VideoInstanceSegmenter changed."""
    return rebuilt(model, ("sem_seg_head", "criterion", "max_tracks", "window_size", "score_horizon"), changes)


def group(model, items):
    """The segmenter without prompts, and with prompts from supports of full and half resolution."""
    grid = model.sampler.with_policy("grid")

    def arm(name, **changes):
        return Arm(name, going_on(variant(model, **changes).stream(Frames(items), grid), len(items)))

    return Group("segmenter", arm("un-prompted", prompt_predictor=None),
                 (arm("STPN, full supports", support_resize=1.0), arm("STPN, half supports", support_resize=HALF)))


def check(model, items):
    """Raise AssertionError where the arms would not do what they stand for; -> how much the prompts change."""
    grid, cycles = model.sampler.with_policy("grid"), len(items) // model.sampler.stride
    plain = variant(model, prompt_predictor=None)
    with mock.patch.object(model, "_embed_frame", wraps=model._embed_frame) as embed:
        found = [list(m._walk(Frames(items, len(items)), grid, None)) for m in (plain, model)]
    assert embed.call_count == cycles, f"{embed.call_count} support passes for {len(items)} frames, not {cycles}"
    first, second = (walked[-1][2]["pred_masks"] for walked in found)
    changed = ((first - second).abs().max() / first.abs().max()).item()
    assert changed > 1e-3, f"the prompts do next to nothing: {changed}"
    return changed


def measure_speed(args, model):
    gpu = torch.device(args.device).type == "cuda"
    timer = make_timer(args.clock, args.device, args.threads)
    # Whole support cycles and whole windows: every measurement holds the same work, wherever it begins.
    items = random_frames(args.cycles * math.lcm(model.sampler.stride, model.window_size), args.size)
    with torch.inference_mode():
        report, arms = {"prompted_minus_unprompted": check(model, items)}, group(model, items)
        warm_up(arms, 20 if gpu else 1)
        times = interleave(arms, pairs=args.pairs or (30 if gpu else 6), timer=timer,
                           progress=lambda done: print(f"{done} pairs", file=sys.stderr, flush=True))
    return {**report, "rows": rows(arms, times)}


def parameters(model):
    counts = {name: sum(p.numel() for p in model.get_submodule(name).parameters()) for name in PARTS}
    return {**counts, "baseline": sum(counts.values()) - counts["prompt_predictor"], "STPN": sum(counts.values())}


def text(report):
    counts = ", ".join(f"{name} {count / 1e6:.2f}M" for name, count in report["parameters"].items())
    found = memory_text(report["memory"]) if "memory" in report else table(report["rows"])
    return f"parameters: {counts}\n\n{found}"


def main(argv=None):
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    cfg = configure(args)
    model = build(cfg)
    report = {"machine": machine(args), "settings": vars(args), "parameters": parameters(model)}
    if args.memory:
        report["memory"] = measure_memory(cfg, counts=sorted(args.memory_frames), size=args.size, threads=args.threads)
    else:
        report.update(measure_speed(args, model))
    publish(report, text(report), args.output)


if __name__ == "__main__":
    run_script(main)
