#!/usr/bin/env python3
"""What SELSA saves by keeping its support frames' keys and values, interleaved with computing them again.

    benchmark_selsa.py --threads 1 --clock cpu --size 224x384 --output selsa.json

One frame of a video whose support frames are known, random weights, a control of A against itself
(stpn/study/timing.py). A keeps keys and values. B computes them for every frame again:

  head       the box head alone, from pooled proposals
  detector   from the support frames' feature maps (their proposals, pooling, box head), which is what published
             code keeps; and from the support frames themselves

"whole video" spreads the support frames' one pass over --video-length frames. All give the same boxes, which is
checked first. KEY VALUE pairs come last and override the configuration.
"""

import argparse
import os
import sys

import torch
from benchmark import frame_size, machine, positive, publish
from benchmark_arms import random_frames, whole_video

import stpn  # noqa: F401  registers encoders and tasks
from stpn.engine.config_file import PROJECT, load_config
from stpn.engine.model import build_model
from stpn.errors import InputError, run_script
from stpn.heads import join_support
from stpn.meta_arch import SelsaDetector
from stpn.study.timing import CLOCKS, Arm, Group, interleave, make_timer, rows, table, warm_up


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default=str(PROJECT / "configs" / "selsa_vid_swint.yaml"), metavar="FILE")
    parser.add_argument("--size", type=frame_size, default=(224, 384), metavar="HxW", help="of the frames")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), metavar="N")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    parser.add_argument("--pairs", type=positive, default=6, metavar="N")
    parser.add_argument("--video-length", type=positive, default=317, metavar="T")
    parser.add_argument("--output", metavar="FILE", help="all numbers as JSON")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides")
    return parser.parse_args(argv)


def build(args):
    cfg = load_config(args.config_file, ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.05", "MODEL.DEVICE", args.device,
                                         "INPUT.SUPPORT.TEST_POLICY", "spread", *args.opts])
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    if not isinstance(model, SelsaDetector):
        raise InputError(f"{args.config_file} builds a {type(model).__name__}; name a SELSA configuration")
    return model


class KnownVideo:
    """Everything about one frame and its support frames that one of the arms may keep."""

    def __init__(self, model, size):
        self.model, self.heads = model, model.roi_heads
        count = len(model.selsa_sampler.test(0, 1000))
        self.items = random_frames(count + 1, size)
        prompts = None
        if model.prompt_predictor is not None:
            clip = torch.stack([model._embed_frame(item) for item in self.items[1:]])[None]
            prompts = model.prompt_predictor(clip)
        self.pairs = [(item, prompts) for item in self.items]
        self.maps = [model._propose(*pair)[1] for pair in self.pairs[1:]]
        self.pooled = [self._pool(pair) for pair in self.pairs]
        self.support = join_support([model._embed_proposals(pair) for pair in self.pairs[1:]])

    def _pool(self, pair):
        _, features, proposals = self.model._propose(*pair)
        return self.heads._pool(features, proposals)[0]

    def from_pooled(self):
        return join_support([self.heads.box_head.support(pooled) for pooled in self.pooled[1:]])

    def from_maps(self):
        parts, images = [], self.model.images([self.items[0]["image"]])
        for features in self.maps:
            proposals, _ = self.model.proposal_generator(images, features)
            parts += self.heads.embed(features, proposals)
        return join_support(parts)

    def from_frames(self):
        return join_support([self.model._embed_proposals(pair) for pair in self.pairs[1:]])

    def head(self, support):
        return self.heads.box_head(self.pooled[0], support, with_self=True)

    def detect(self, support):
        return self.model.detect(*self.pairs[0], support)


def groups(video, length):
    def arm(name, work):
        return Arm(name, ((work, 1.0),))

    return [Group("head", arm("kept", lambda: video.head(video.support)),
                  (arm("from proposals", lambda: video.head(video.from_pooled())),)),
            Group("detector", arm("kept", lambda: video.detect(video.support)),
                  (Arm("kept, whole video", whole_video(video.model, video.items, length)),
                   arm("from feature maps", lambda: video.detect(video.from_maps())),
                   arm("from frames", lambda: video.detect(video.from_frames()))))]


def check(video):
    """-> largest difference between the box head's outputs, with kept support and computed again."""
    kept = video.head(video.support)
    others = [video.head(make()) for make in (video.from_pooled, video.from_maps, video.from_frames)]
    difference = max((kept - other).abs().max().item() for other in others)
    if difference > 1e-3 * kept.abs().max().item():
        raise RuntimeError(f"kept support and support computed again differ by {difference}")
    return difference


def main(argv=None):
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    timer = make_timer(args.clock, args.device, args.threads)
    report = {"machine": machine(args), "settings": vars(args), "rows": []}
    model = build(args)
    with torch.inference_mode():
        video = KnownVideo(model, args.size)
        report["difference"] = check(video)
        for group in groups(video, args.video_length):
            warm_up(group, 1)
            times = interleave(group, pairs=args.pairs, timer=timer, progress=lambda done: print(
                f"{done} pairs", file=sys.stderr, flush=True))
            report["rows"] += rows(group, times)
    count = len(video.items) - 1
    text = (f"{count} support frames, {len(video.support[0][0])} support proposals; outputs differ by at most "
            f"{report['difference']:.1e}\n\n{table(report['rows'])}")
    publish(report, text, args.output)


if __name__ == "__main__":
    run_script(main)
