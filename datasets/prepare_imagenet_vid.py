#!/usr/bin/env python3
"""A list of a data set in ImageNet VID's layout -> the plain video format.

    python datasets/prepare_imagenet_vid.py datasets/ILSVRC2015 --list VID_val_videos \\
        --output datasets/ILSVRC2015/val.json

Not needed for training on ImageNet VID, whose layout is read as it is; for adding videos of your own to it, or for
tools that read COCO-style JSON. Boxes keep their corners (width x2 - x1), clipped to the picture.
"""

import argparse

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from stpn.data.convert.converting import add_options, prepare_output, save
from stpn.data.convert.imagenet_vid import convert_imagenet_vid
from stpn.errors import run_script


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", metavar="FOLDER", help="with Data/VID, Annotations/VID and ImageSets")
    parser.add_argument("--list", required=True, metavar="NAME", help="list in ImageSets, without .txt")
    add_options(parser)
    args = parser.parse_args(argv)
    output = prepare_output(args.output, overwrite=args.overwrite)
    plain = convert_imagenet_vid(args.root, args.list, output, classes=args.classes)
    print("\n".join(save(plain, output)))


if __name__ == "__main__":
    run_script(main)
