#!/usr/bin/env python3
"""Look through a data set before training: counts, everything that is wrong with it, and frames with their boxes.

    python datasets/check.py my_set/train
    python datasets/check.py imagenet_vid_val --decode-all --output checked

NAME is a built-in name, or below DETECTRON2_DATASETS (default ./datasets) the path of a JSON file without ".json" or of
a folder of tracking sequences, as in DATASETS.TRAIN. Sets that other code registers with detectron2 are not for this
script. Writes NAME.txt, with all problems, and NAME.png, frames with their boxes (and masks) in the colours of their
tracks.

Exit code: 0 when training can use everything (boxes may be clipped), 3 when it would stop, leave something out or
have nothing to learn, 2 when the set cannot be read at all.
"""

import argparse
import functools
import logging
from pathlib import Path

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from tqdm import tqdm

from stpn.data.check import report as check_report
from stpn.data.check.checking import check
from stpn.data.check.problems import IN_VAIN, LEAVES_OUT, STOPS
from stpn.data.check.sets import open_set
from stpn.errors import InputError, PartialResult, run_script


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--output", default="output/check", metavar="DIR", help="default: %(default)s")
    parser.add_argument("--videos", type=int, default=8, metavar="N",
                        help="videos in the picture, evenly spread; 0 for no picture; default: %(default)s")
    parser.add_argument("--sample-frames", type=int, default=200, metavar="N",
                        help="labelled frames to decode, evenly spread; default: %(default)s")
    parser.add_argument("--decode-all", action="store_true", help="decode every labelled frame (slow)")
    args = parser.parse_args(argv)
    if args.videos < 0 or args.sample_frames < 0:
        raise InputError(f"--videos is {args.videos}, --sample-frames {args.sample_frames}; expected 0 or more")
    return args


def main(argv=None):
    args = parse_arguments(argv)
    logging.getLogger("stpn").setLevel(logging.ERROR)  # what the readers warn of is in the report
    checked = open_set(args.name)
    result = check(checked, sample=None if args.decode_all else args.sample_frames,
                   progress=functools.partial(tqdm, unit=" frames", leave=False, disable=None))
    place = Path(args.output) / args.name.replace("/", "_")
    check_report.write_text(place.with_name(f"{place.name}.txt"), check_report.text(checked, result, shown=None))
    print(check_report.text(checked, result))
    print(f"all of this: {place}.txt")
    if args.videos and check_report.draw(place.with_name(f"{place.name}.png"), checked, result.counts,
                                         videos=args.videos):
        print(f"to look at:  {place}.png")
    if result.findings.count(STOPS, LEAVES_OUT, IN_VAIN):
        raise PartialResult(f"{args.name} has {check_report.summary(result.findings)}")


if __name__ == "__main__":
    run_script(main)
