#!/usr/bin/env python3
"""Speed of STPN relative to the un-prompted baseline, and the memory of an endless stream.

    benchmark.py --threads 1 --clock cpu --size 224x384 --output speed.json
    benchmark.py --memory

Both run in one process on the same weights and frames, in turns (A B B A), with A against itself as a control
(stpn/study/timing.py). B/A above 1 means that B is faster. Rows, each against our own un-prompted path and
against detectron2's Swin with the same weights:

  backbone   prompts given, shallow and deep; and with its support passes and predictor on the grid
  detector   everything from the frame to the boxes, support passes and predictor included: on the grid with
             full- and with half-resolution supports, and once per video of --video-length frames

A measurement is --cycles support cycles long (STRIDE frames each). Weights are random: time depends on them
only through the number of boxes. The box head gets the best RPN.POST_NMS_TOPK_TEST proposals (their number is
printed, with and without prompts), and SCORE_THRESH_TEST is 0.05, which random scores (about 1 / classes)
hardly reach: the last suppression costs next to nothing in both. KEY VALUE pairs come last and may change that.
"""

import argparse
import json
import os
import platform
import sys
from pathlib import Path

import torch
from benchmark_arms import StockSwin, backbone_groups, detector_groups, random_frames, tensors
from benchmark_checks import check_all, stream_memory
from detectron2.modeling import build_model

import stpn  # noqa: F401  registers encoders and tasks
from stpn.engine.config_file import PROJECT, load_config
from stpn.errors import InputError, atomic_path, run_script
from stpn.study.timing import CLOCKS, interleave, make_timer, rows, table, warm_up

DEFAULTS = ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.05")
VIDEO_LENGTH = 317  # mean of ImageNet VID val: 176126 frames in 555 videos


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", metavar="FILE", help="default: configs/stpn_vid_swint.yaml, "
                        "with --memory configs/toy/stpn.yaml")
    parser.add_argument("--size", type=frame_size, metavar="HxW", help="of the frames; default 224x384, "
                        "with --memory 96x96")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), metavar="N")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall",
                        help="cpu: processor time of one thread")
    parser.add_argument("--pairs", type=positive, metavar="N", help="default 11, on a GPU 30")
    parser.add_argument("--warm-up", type=positive, metavar="N", help="frames; default 3, on a GPU 20")
    parser.add_argument("--cycles", type=positive, default=2, metavar="N",
                        help="support cycles of a measurement; default 2")
    parser.add_argument("--video-length", type=positive, default=VIDEO_LENGTH, metavar="T",
                        help=f"default {VIDEO_LENGTH}")
    parser.add_argument("--only", choices=("backbone", "detector"))
    parser.add_argument("--memory", action="store_true", help="measure memory instead of speed")
    parser.add_argument("--memory-frames", type=positive, nargs=2, default=(200, 2000), metavar="N")
    parser.add_argument("--output", metavar="FILE", help="all numbers as JSON")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides")
    return parser.parse_args(argv)


def frame_size(text):
    height, _, width = text.partition("x")
    return positive(height), positive(width)


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}; expected at least 1")
    return number


def build(args):
    """-> (cfg, model in eval mode with random weights)."""
    default = PROJECT / "configs" / ("toy/stpn.yaml" if args.memory else "stpn_vid_swint.yaml")
    name = args.config_file or str(default)
    cfg = load_config(name, [*DEFAULTS, "MODEL.DEVICE", args.device, *args.opts])
    if not cfg.MODEL.STPN.ENABLED:
        raise InputError(f"{name} is a baseline (MODEL.STPN.ENABLED False); name the STPN config: "
                         "its baseline is made from it")
    torch.manual_seed(0)
    return cfg, build_model(cfg).eval()


def measure_speed(args, cfg, model):
    """-> {"checks", "rows"} as they go into the report."""
    gpu = torch.device(args.device).type == "cuda"
    frames = args.cycles * cfg.INPUT.SUPPORT.STRIDE
    if args.video_length <= frames:
        raise InputError(f"--video-length is {args.video_length}; expected more than the {frames} "
                         "frames of a measurement")
    timer = make_timer(args.clock, args.device, args.threads)
    stock, items = StockSwin(cfg, model.backbone).eval(), random_frames(frames, args.size or (224, 384))
    report = {"checks": check_all(model, stock, items), "rows": []}
    groups = [*backbone_groups(model, stock, tensors(model, items), cfg.MODEL.STPN.NUM_PROMPTS),
              *detector_groups(model, stock, items, args.video_length)]
    for group in groups:
        if args.only in (None, group.part):
            warm_up(group, args.warm_up or (20 if gpu else 3))
            times = interleave(group, pairs=args.pairs or (30 if gpu else 11), timer=timer,
                               progress=lambda done, group=group: _say(group, done))
            report["rows"] += rows(group, times)
    return report


def _say(group, done):
    print(f"{group.part} against {group.baseline.name}: {done} pairs", file=sys.stderr, flush=True)


def measure_memory(args, cfg, model):
    counts = sorted(args.memory_frames)
    found = stream_memory(cfg, model, size=args.size or (96, 96), counts=counts)
    return {"memory_mb": found, "memory_ratio": found[counts[-1]] / found[counts[0]]}


def machine(args):
    return {"device": torch.cuda.get_device_name() if args.device.startswith("cuda") else _processor(),
            "cores": os.cpu_count(), "threads": args.threads, "clock": args.clock, "torch": torch.__version__,
            "python": platform.python_version(), "load_average": os.getloadavg()}


def _processor():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def text(report):
    if "memory_mb" in report:
        held = ", ".join(f"{mb:.1f} MB after {count} frames" for count, mb in report["memory_mb"].items())
        return f"memory: {held}; ratio {report['memory_ratio']:.4f}"
    boxes = ", ".join(f"{n} {name}" for name, n in report["checks"]["proposals"].items())
    return f"boxes for the box head: {boxes}\n\n{table(report['rows'])}"


def publish(report, text, path=None):
    """Print the text, and write the report with all of its numbers as JSON to path."""
    report["machine"]["load_average_at_end"] = os.getloadavg()
    print(text)
    if path:
        with atomic_path(path) as part:
            part.write_text(json.dumps(report, indent=1) + "\n")


def main(argv=None):
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    cfg, model = build(args)
    report = {"machine": machine(args), "settings": vars(args)}
    with torch.inference_mode():
        report.update((measure_memory if args.memory else measure_speed)(args, cfg, model))
    publish(report, text(report), args.output)


if __name__ == "__main__":
    run_script(main)
