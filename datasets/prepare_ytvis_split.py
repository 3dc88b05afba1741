#!/usr/bin/env python3
"""Divide the train part of YouTube-VIS or OVIS into train_sub and val_sub, by video.

    python datasets/prepare_ytvis_split.py datasets/ytvis_2019/train.json
    python datasets/prepare_ytvis_split.py datasets/ytvis_2021/train.json            # or train/instances.json
    python datasets/prepare_ytvis_split.py datasets/ovis/annotations/annotations_train.json
    python datasets/prepare_ytvis_split.py datasets/my_set/clips.json --output datasets/my_set/{a,b}.json

The labels of the official val and test parts are hidden: figures from them come from the submission server alone.
val_sub is what can be measured at home, on weights that were trained on train_sub. Writes train_sub.json and
val_sub.json (annotations_*_sub.json for OVIS) beside train.json; the pictures stay where they are. The same seed gives
the same parts. Every class of val_sub is in train_sub. --output names both files for a set of your own, whatever it is
called; where needed, their file_names then say where the pictures are.
"""

import argparse

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from stpn.data.convert.ytvis_split import (
    check_command,
    describe,
    own_paths,
    part_paths,
    refuse_existing,
    split_ytvis,
    with_pictures,
    write_parts,
)
from stpn.errors import InputError, run_script


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="TRAIN.json")
    parser.add_argument("--output", nargs=2, metavar=("TRAIN.json", "VAL.json"),
                        help="files to write for a set of your own; default: train_sub.json and val_sub.json")
    parser.add_argument("--val-share", type=float, default=0.1, metavar="SHARE",
                        help="part of the videos that goes to val_sub; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="which videos these are; default: %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace the files if they exist")
    args = parser.parse_args(argv)
    if args.seed < 0:
        raise InputError(f"--seed is {args.seed}; expected 0 or more")
    return args


def main(argv=None):
    args = parse_arguments(argv)
    paths = own_paths(args.file, args.output) if args.output else part_paths(args.file)
    refuse_existing(paths, overwrite=args.overwrite)
    parts = split_ytvis(args.file, share=args.val_share, seed=args.seed)
    if args.output:
        parts = with_pictures(parts, paths, args.file)
    write_parts(parts, paths)
    for path, part in zip(paths, parts):
        print(f"wrote {path}: {describe(part)}")
    videos = [len(part["videos"]) for part in parts]
    if videos[1] < round(args.val_share * sum(videos)):
        print(f"note: {paths[1].stem} has fewer videos than the {args.val_share:g} of {sum(videos)} that were asked "
              f"for; more would leave {paths[0].stem} without one of their classes")
    print(f"next: {check_command(paths[1])}")


if __name__ == "__main__":
    run_script(main)
