#!/usr/bin/env python3
"""Detect objects, segment instances or track targets in a video: an mp4 with what was found, and a JSON line a frame.

    demo.py --config-file configs/stpn_vid_swint.yaml --weights model.pth --input clip.mp4 --output out
    demo.py --config-file configs/stpn_ytvis19_swint.yaml --weights model.pth --input clip.mp4 --output out
    demo.py --config-file configs/stpn_got10k_cvt21_score.yaml --weights model.pth --input clip.mp4 --output out \\
            --init 120,80,60,40

A detector's boxes have the colours of their classes. An instance has a mask and a track number, and its colour stays
the same over the video; the JSON lines hold the number and the mask as COCO RLE, too. Instances are scored while the
video runs, each by the mean over the last frames: an object may appear in the results some frames late, when its
score reaches the threshold. (Scores over whole videos, as YouTube-VIS wants them: train_net.py --eval-only.)

A tracker follows the targets whose boxes --init gives in the first frame, each on its own. A frame in which its score
is too low counts as lost: its box is drawn dim and dashed, and tracking goes on. The JSON lines hold the target's
number ("track_ids"), its score, and "lost". Without --init a window opens in which to draw the box.

Exit codes: 0 done, 1 internal error, 2 bad input or usage, 3 partial results (written as far as they go),
130 interrupted.
"""

import argparse
import logging
import sys

from stpn.data.source import open_source
from stpn.engine.config_file import load_config
from stpn.engine.drawing import draw_detections
from stpn.engine.predictor import VideoPredictor
from stpn.engine.results import prepare_output
from stpn.engine.start_boxes import ask_for_box, joined_boxes, parse_box
from stpn.engine.video_run import run_video
from stpn.engine.visualizer import visualize_detections
from stpn.errors import InputError, PartialResult, run_script
from stpn.prompting.sampling import POLICIES


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--input", required=True, metavar="FILE|FOLDER|GLOB|camera:0",
                        help="a name that begins with a dash is given as --input=-name")
    parser.add_argument("--output", required=True, metavar="DIR", help="made if it is not there")
    parser.add_argument("--weights", metavar="FILE", help="checkpoint instead of the config's MODEL.WEIGHTS")
    parser.add_argument("--policy", choices=POLICIES,
                        help="which support frames are taken (default: the config's; causal for a camera)")
    parser.add_argument("--init", action="append", metavar="X,Y,W,H", help="box of a tracker's target in the first "
                        "frame, pixels from the upper left corner; more than once for several targets")
    parser.add_argument("--score-threshold", type=float, metavar="S", help="default 0.5; of a tracker "
                        "TEST.TRACKING.LOST_SCORE, and what is below counts as lost")
    parser.add_argument("--max-frames", type=_positive, metavar="N", help="end after N frames")
    parser.add_argument("--fps", type=float, metavar="F", help="frames per second, not the source's own")
    parser.add_argument("--on-error", choices=("stop", "skip"), default="stop", help="at an unreadable frame")
    parser.add_argument("--strict", action="store_true", help="exit with 3 if any frame is missing")
    parser.add_argument("--overwrite", action="store_true", help="replace results of an earlier run")
    parser.add_argument("--no-video", action="store_true", help="write the JSON lines only")
    parser.add_argument("--visualizer", action="store_true", help="draw with detectron2's Visualizer (slow)")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides")
    return parser.parse_args(joined_boxes(sys.argv[1:] if argv is None else argv))


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}; expected at least 1")
    return number


def main(argv=None):
    args = parse_arguments(argv)
    logging.basicConfig(format="%(message)s")  # to stderr
    logging.getLogger("stpn").setLevel(logging.INFO)
    cfg = load_config(args.config_file, args.opts)
    boxes = starting_boxes(args, cfg)
    with open_source(args.input, fps=args.fps, on_error=args.on_error) as source:
        kinds = ("jsonl",) if args.no_video else ("jsonl", "mp4")
        paths = prepare_output(args.output, [f"{source.name}.{kind}" for kind in kinds],
                               overwrite=args.overwrite, source=args.input)
        predictor = VideoPredictor(cfg, weights=args.weights, policy=args.policy)
        totals = run_video(predictor, source, jsonl_path=paths[0],
                           video_path=None if args.no_video else paths[1],
                           score_threshold=args.score_threshold, max_frames=args.max_frames, boxes=boxes,
                           draw=visualize_detections if args.visualizer else draw_detections)
        samplers = predictor.model.support_samplers(predictor.sampler(source))
    for warning in source.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(summary(totals, samplers, paths if totals.frames else paths[:1]))
    return verdict(totals, source, strict=args.strict)


def starting_boxes(args, cfg):
    """-> what run_video takes as boxes: None for a model that is no tracker. Raises InputError where the arguments do
    not fit the model of cfg."""
    if cfg.MODEL.META_ARCHITECTURE != "VideoObjectTracker":
        if args.init:
            raise InputError(f"--init is for trackers, but {args.config_file} describes a "
                             f"{cfg.MODEL.META_ARCHITECTURE}, which finds its objects itself; leave it out, or name a "
                             "tracker's configuration")
        return None
    if args.score_threshold is not None and not cfg.MODEL.MIXFORMER.SCORE_HEAD:
        raise InputError(f"--score-threshold needs scores, but {args.config_file} describes a tracker without a score "
                         "head; leave it out, or name a configuration with MODEL.MIXFORMER.SCORE_HEAD True")
    return [parse_box(text) for text in args.init] if args.init else ask_for_box


def summary(totals, samplers, paths):
    """The last line of the output."""
    rate = totals.frames / totals.seconds if totals.seconds else 0.0
    unreadable = f" ({totals.unreadable} unreadable)" if totals.unreadable else ""
    support = "no support frames"
    if samplers:
        distinct = " + ".join(str(distinct_supports(sampler, totals.frames)) for sampler in samplers)
        support = f"policy {samplers[0].policy} ({distinct} distinct support frame{'s' * (distinct != '1')})"
    files = ", ".join(path if path.isprintable() else repr(path) for path in paths)
    frames = counted(totals.frames, "frame")
    return f"{frames}{unreadable}, {rate:.1f} fps, {found_text(totals)}, {support}, files: {files}"


def counted(number, what):
    return f"{number} {what}{'s' * (number != 1)}"


def found_text(totals):
    """What the frames hold in all."""
    if totals.lost is not None:
        return lost_text(totals)
    if totals.tracks is None:
        return counted(totals.detections, "detection")
    return f"{counted(len(totals.tracks), 'instance')} ({counted(totals.detections, 'mask')})"


def lost_text(totals):
    """A tracker's targets, and for how long it had lost them."""
    targets = counted(len(totals.lost), "target")
    if totals.unscored:
        return f"{targets} (no score head: not known when lost)"
    lost = list(totals.lost.values()) or [0]
    return f"{targets} lost in {' + '.join(map(str, lost))} frame{'s' * (lost != [1])}"


def distinct_supports(sampler, length):
    """Most different support frames that a frame has in a video of this length; few in a short one."""
    asked = range(length) if length <= 1000 else [length // 2]
    return max((len(set(sampler.test(t, length))) for t in asked), default=0)


def verdict(totals, source, *, strict):
    """-> exit code, or raises what stands for it."""
    if totals.interrupted:
        raise KeyboardInterrupt
    if totals.failure is not None:
        raise PartialResult(totals.failure) if totals.frames else totals.failure
    if strict and (source.partial or totals.unreadable):
        read = totals.frames - totals.unreadable
        raise PartialResult(f"{counted(read, 'frame')} {'was' if read == 1 else 'were'} read and some are missing (see "
                            "the warnings); without --strict that counts as done")
    return 0


if __name__ == "__main__":
    run_script(main)
