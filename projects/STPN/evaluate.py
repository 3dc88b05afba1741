#!/usr/bin/env python3
"""The figures of saved detections, without the model that made them.

    evaluate.py --results output/stpn_vid_swint/inference/imagenet_vid_val/vid_detections.json \
                --dataset imagenet_vid_val

FILE is what train_net.py leaves in OUTPUT_DIR/inference/<data set>/ (the figures are those it printed, to the last
bit), or the COCO results of another program: a JSON list of {"image_id", "category_id", "bbox": [x, y, w, h], "score"},
boxes in pixels of the original image. What category_id means in such a file has to be said with --category-ids; a
file made for another data set with the same image ids cannot be recognised.

Exit codes: 0 done, 2 bad input or usage.
"""

import argparse

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from detectron2.evaluation import print_csv_format
from detectron2.utils.logger import setup_logger

from stpn.data.builtin import ensure_registered
from stpn.engine.results import prepare_output
from stpn.errors import run_script
from stpn.evaluation import ImageNetVIDEvaluator
from stpn.evaluation.results_file import CATEGORY_IDS
from stpn.evaluation.vid_ap import CONVENTIONS


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", required=True, metavar="FILE", help="detections as a COCO results file")
    parser.add_argument("--dataset", required=True, metavar="NAME", help="the data set they were made for")
    parser.add_argument("--category-ids", choices=CATEGORY_IDS,
                        help="what category_id is: the class number from 0 (contiguous: train_net.py writes it) or "
                             "from 1 (one-based), or the id in the annotation file (original); needed for another "
                             "program's file")
    parser.add_argument("--motion-convention", choices=sorted(CONVENTIONS), default="mega",
                        help="of AP50 by motion (default mega)")
    parser.add_argument("--motion-table", metavar="FILE|none",
                        help="motion IoU of every box (.mat), or none: computed from the tracks. Default: the data "
                             "set's own table if it has one")
    parser.add_argument("--output", metavar="DIR", help="write vid_metrics.json there")
    parser.add_argument("--overwrite", action="store_true", help="replace the vid_metrics.json of an earlier run")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_arguments(argv)
    if args.output:
        prepare_output(args.output, ["vid_metrics.json"], overwrite=args.overwrite, source=args.results)
    for name in ("detectron2", "stpn"):
        setup_logger(name=name)
    ensure_registered([args.dataset])
    evaluator = ImageNetVIDEvaluator(args.dataset, output_folder=args.output, motion_table=args.motion_table,
                                     motion_convention=args.motion_convention)
    print_csv_format(evaluator.evaluate_file(args.results, category_ids=args.category_ids))


if __name__ == "__main__":
    run_script(main)
