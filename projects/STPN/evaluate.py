#!/usr/bin/env python3
"""The figures of saved detections, without the model that made them; and a check of a submission.

    evaluate.py --results output/stpn_vid_swint/inference/imagenet_vid_val/vid_detections.json \
                --dataset imagenet_vid_val
    evaluate.py --results output/stpn_ytvis19_swint/inference/ytvis_2019_val_sub/results.json \
                --dataset ytvis_2019_val_sub

FILE is what train_net.py leaves in OUTPUT_DIR/inference/<data set>/ (the figures are those it printed, to the last
bit), or the results of another program.

Boxes: a JSON list of {"image_id", "category_id", "bbox": [x, y, w, h], "score"}, COCO's form, in pixels of the original
image. What category_id means in such a file has to be said with --category-ids; a file made for another data set with
the same image ids cannot be recognised.

Masks in videos (YouTube-VIS): a JSON list of {"video_id", "category_id", "score", "segmentations": an RLE or null per
frame}, or a zip archive with it as results.json. If the labels of the data set are hidden there are no figures: the
file is checked as a submission, and all that is wrong with it is listed.

Exit codes: 0 done, 2 bad input or usage.
"""

import argparse

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from detectron2.data import MetadataCatalog
from detectron2.evaluation import print_csv_format
from detectron2.utils.logger import setup_logger

from stpn.data.builtin import ensure_registered
from stpn.engine.results import prepare_output
from stpn.errors import InputError, run_script
from stpn.evaluation import ImageNetVIDEvaluator, YouTubeVISEvaluator
from stpn.evaluation.results_file import CATEGORY_IDS
from stpn.evaluation.vid_ap import CONVENTIONS


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", required=True, metavar="FILE", help="detections as a COCO results file, or masks "
                        "as a YouTube-VIS results file or submission")
    parser.add_argument("--dataset", required=True, metavar="NAME", help="the data set they were made for")
    parser.add_argument("--output", metavar="DIR", help="write vid_metrics.json (boxes) or vis_metrics.json there")
    parser.add_argument("--overwrite", action="store_true", help="replace that file of an earlier run")
    boxes = parser.add_argument_group("boxes")
    boxes.add_argument("--category-ids", choices=CATEGORY_IDS,
                       help="what category_id is: the class number from 0 (contiguous: train_net.py writes it) or "
                            "from 1 (one-based), or the id in the annotation file (original); needed for another "
                            "program's file")
    boxes.add_argument("--motion-convention", choices=sorted(CONVENTIONS), help="of AP50 by motion (default mega)")
    boxes.add_argument("--motion-table", metavar="FILE|none",
                       help="motion IoU of every box (.mat), or none: computed from the tracks. Default: the data "
                            "set's own table if it has one")
    masks = parser.add_argument_group("masks")
    masks.add_argument("--allow-empty-videos", action="store_true",
                       help="videos without a record are in order: nothing was found in them")
    return parser.parse_args(argv)


def boxes(args):
    if args.allow_empty_videos:
        raise InputError(f"--allow-empty-videos is for masks, but {args.dataset} has boxes; leave it away")
    prepare(args, "vid_metrics.json")
    evaluator = ImageNetVIDEvaluator(args.dataset, output_folder=args.output, motion_table=args.motion_table,
                                     motion_convention=args.motion_convention or "mega")
    return evaluator.evaluate_file(args.results, category_ids=args.category_ids)


def masks(args):
    for option in ("category_ids", "motion_convention", "motion_table"):
        if getattr(args, option) is not None:
            raise InputError(f"--{option.replace('_', '-')} is for boxes, but {args.dataset} has masks; leave it away")
    evaluator = YouTubeVISEvaluator(args.dataset, output_folder=args.output)
    if args.output and MetadataCatalog.get(args.dataset).get("has_labels") is False:
        raise InputError(f"the labels of {args.dataset} are hidden, so that there are no figures to write; leave "
                         "--output away to have the submission checked")
    prepare(args, "vis_metrics.json")
    return evaluator.evaluate_file(args.results, allow_empty_videos=args.allow_empty_videos)


def prepare(args, name):
    if args.output:
        prepare_output(args.output, [name], overwrite=args.overwrite, source=args.results)


def main(argv=None):
    args = parse_arguments(argv)
    for name in ("detectron2", "stpn"):
        setup_logger(name=name)
    ensure_registered([args.dataset])
    kinds = {"imagenet_vid": boxes, "ytvis": masks}
    kind = MetadataCatalog.get(args.dataset).get("evaluator_type")
    if kind not in kinds:
        raise InputError(f"{args.dataset} has evaluator_type {kind!r}; expected one of {', '.join(kinds)}")
    print_csv_format(kinds[kind](args))


if __name__ == "__main__":
    run_script(main)
