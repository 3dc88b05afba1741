#!/usr/bin/env python3
"""A CocoVID file (mmtracking's COCO-style JSON, for ImageNet VID for instance) -> the plain video format.

    python datasets/prepare_cocovid.py imagenet_vid_train.json --pictures datasets/ILSVRC2015/Data/VID \\
        --output datasets/ILSVRC2015/train.json

Frames are placed by the position of their picture in its folder; where frame_id says something else, or where the
key frames are those of a known faulty conversion (each one too early), a note says so.
"""

import argparse

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from stpn.data.convert.cocovid import KEY_FRAMES, convert_cocovid
from stpn.data.convert.converting import add_options, prepare_output, save
from stpn.errors import run_script


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--pictures", required=True, metavar="DIR", help="folder that the file names start from")
    parser.add_argument("--key-frames", choices=KEY_FRAMES, default="all",
                        help="frames that become labelled: all listed, those flagged is_vid_train_frame, or the "
                             "published 15 of each video (which must be listed whole); default: %(default)s")
    add_options(parser)
    args = parser.parse_args(argv)
    output = prepare_output(args.output, overwrite=args.overwrite)
    plain = convert_cocovid(args.file, output, pictures=args.pictures, classes=args.classes,
                            key_frames=args.key_frames)
    print("\n".join(save(plain, output)))


if __name__ == "__main__":
    run_script(main)
