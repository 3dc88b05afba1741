#!/usr/bin/env python3
"""Generate a part of the toy video set: in the ImageNet VID, the YouTube-VIS (masks) or the GOT-10k layout (tracks).

    make_toy.py --output datasets/toy_vid   --split train --videos 1200
    make_toy.py --output datasets/toy_vid   --split val   --videos 150
    make_toy.py --output datasets/toy_still --split still --videos 3000

    make_toy.py --layout ytvis  --output datasets/toy_ytvis  --split train --videos 1200   (val and still alike)
    make_toy.py --layout got10k --output datasets/toy_got10k --split train --videos 1000   (val alike)
"""

import argparse

from stpn.data.toy_got10k import write_toy_got10k
from stpn.data.toy_layout import write_toy
from stpn.data.toy_ytvis import write_toy_ytvis
from stpn.errors import InputError, run_script

WRITERS = {"vid": write_toy, "ytvis": write_toy_ytvis, "got10k": write_toy_got10k}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", choices=WRITERS, default="vid")
    parser.add_argument("--output", required=True, metavar="DIR",
                        help="toy_vid, toy_still, toy_ytvis or toy_got10k under DETECTRON2_DATASETS")
    parser.add_argument("--split", required=True, choices=("train", "val", "still"))
    parser.add_argument("--videos", type=int, required=True, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if (args.layout, args.split) == ("got10k", "still"):
        raise InputError("a still has nothing to track; expected --split train or val for --layout got10k")
    print(WRITERS[args.layout](args.output, split=args.split, videos=args.videos, seed=args.seed))


if __name__ == "__main__":
    run_script(main)
