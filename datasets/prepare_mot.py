#!/usr/bin/env python3
"""MOTChallenge sequences (MOT15 to MOT20, and exports in their form) -> the plain video format.

    python datasets/prepare_mot.py datasets/MOT17/train/MOT17-*-FRCNN --output datasets/MOT17/train.json

A sequence is a folder with gt/gt.txt and img1/. Classes: those of gt/labels.txt where it exists, else pedestrian;
choose others of MOT's with --classes pedestrian car. Rows with consider flag 0 are dropped and counted: what they
mark (people behind glass, statues, ...) counts as background in training and in evaluation.
"""

import argparse

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from stpn.data.convert.converting import add_options, prepare_output, save
from stpn.data.convert.mot import convert_mot
from stpn.errors import run_script


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequences", nargs="+", metavar="FOLDER")
    parser.add_argument("--video", metavar="FILE", help="video file of the only sequence, in place of img1/")
    parser.add_argument("--origin", type=int, choices=(0, 1), default=1,
                        help="number of the left and top pixel: 1 in MOTChallenge, 0 in some exports (CVAT's)")
    add_options(parser)
    args = parser.parse_args(argv)
    output = prepare_output(args.output, overwrite=args.overwrite)
    plain = convert_mot(args.sequences, output, classes=args.classes, video=args.video, origin=args.origin)
    print("\n".join(save(plain, output)))


if __name__ == "__main__":
    run_script(main)
