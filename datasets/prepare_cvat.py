#!/usr/bin/env python3
"""Annotations exported from CVAT ("CVAT for video 1.1") -> the plain video format.

    python datasets/prepare_cvat.py street.xml park.xml --output datasets/my_set/train.json

One XML file a video (unpack CVAT's zip). The videos are looked for in videos/ beside the output, under the name
that CVAT noted or the XML file's own; name them with --video where they lie elsewhere. Tracks keep their ids;
interpolated boxes are marked "generated". Every frame of the task becomes a labelled frame.
"""

import argparse

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from stpn.data.convert.converting import add_options, prepare_output, save
from stpn.data.convert.cvat import convert_cvat
from stpn.errors import run_script


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.xml")
    parser.add_argument("--video", nargs="+", metavar="PATH",
                        help="video file or folder of frames of each XML file, in order")
    add_options(parser)
    args = parser.parse_args(argv)
    output = prepare_output(args.output, overwrite=args.overwrite)
    plain = convert_cvat(args.files, output, videos=args.video, classes=args.classes)
    print("\n".join(save(plain, output)))


if __name__ == "__main__":
    run_script(main)
