#!/usr/bin/env python3
"""The figures of saved detections, without the model that made them; and a check of a submission.

    evaluate.py --results output/stpn_vid_swint/inference/imagenet_vid_val/vid_detections.json \
                --dataset imagenet_vid_val
    evaluate.py --results output/stpn_ytvis19_swint/inference/ytvis_2019_val_sub/results.json \
                --dataset ytvis_2019_val_sub
    evaluate.py --results results/GOT-10k/MyTracker --dataset got10k_val --output output/my_tracker
    evaluate.py --results results/GOT-10k/MyTracker --dataset got10k_test --zip my_tracker.zip
    evaluate.py --results results/A --results results/B --results c.zip --dataset got10k_val --output output/plot
    evaluate.py --results results/LaSOT/MyTracker --dataset lasot_test

FILE is what train_net.py leaves in OUTPUT_DIR/inference/<data set>/ (the figures are those it printed, to the last
bit), or the results of another program.

Boxes: a JSON list of {"image_id", "category_id", "bbox": [x, y, w, h], "score"}, COCO's form, in pixels of the original
image. What category_id means in such a file has to be said with --category-ids; a file made for another data set with
the same image ids cannot be recognised.

Masks in videos (YouTube-VIS): a JSON list of {"video_id", "category_id", "score", "segmentations": an RLE or null per
frame}, or a zip archive with it as results.json. If the labels of the data set are hidden there are no figures: the
file is checked as a submission, and all that is wrong with it is listed.

Tracks of single objects (GOT-10k): the folder of one tracker, or a zip archive of its content, with
<sequence>/<sequence>_001.txt (lines x,y,w,h) and <sequence>_time.txt. All that is wrong with it is listed with file and
line. AO, SR and speed are the GOT-10k toolkit's. Several trackers (--results for each) give one table and one plot.

Tracks on LaSOT, OTB or TrackingNet: such a folder, or one with a file <sequence>.txt each (and <sequence>_time.txt if
there are times). Success AUC, precision and normalised precision, means over sequences.

Exit codes: 0 done, 2 bad input or usage.
"""

import argparse
import os

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from detectron2.data import MetadataCatalog
from detectron2.evaluation import print_csv_format
from detectron2.utils.logger import setup_logger

from stpn.data.builtin import TRACKING_TYPES, ensure_registered
from stpn.engine.results import prepare_output
from stpn.errors import InputError, run_script
from stpn.evaluation import ImageNetVIDEvaluator, YouTubeVISEvaluator
from stpn.evaluation.build import EVALUATORS
from stpn.evaluation.results_file import CATEGORY_IDS
from stpn.evaluation.vid_ap import CONVENTIONS

# What an option of a group is for.
GROUPS = {"category_ids": "boxes", "motion_convention": "boxes", "motion_table": "boxes",
          "allow_empty_videos": "masks", "zip": "tracks"}


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", required=True, metavar="FILE", action="append", help="detections as a COCO "
                        "results file, masks as a YouTube-VIS results file or submission, or a tracker's folder; for "
                        "trackers it can be given several times")
    parser.add_argument("--dataset", required=True, metavar="NAME", help="the data set they were made for")
    parser.add_argument("--output", metavar="DIR", help="write vid_metrics.json (boxes), vis_metrics.json (masks), or "
                        "the figures and the success plot (tracks) there")
    parser.add_argument("--overwrite", action="store_true", help="replace these files of an earlier run")
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
    tracks = parser.add_argument_group("tracks")
    tracks.add_argument("--zip", metavar="FILE", help="write the submission for the test server there, once all is in "
                        "order")
    return parser.parse_args(argv)


def boxes(args):
    prepare(args, ["vid_metrics.json"])
    evaluator = ImageNetVIDEvaluator(args.dataset, output_folder=args.output, motion_table=args.motion_table,
                                     motion_convention=args.motion_convention or "mega")
    return evaluator.evaluate_file(one(args.results), category_ids=args.category_ids)


def masks(args):
    evaluator = YouTubeVISEvaluator(args.dataset, output_folder=args.output)
    prepare(args, ["vis_metrics.json"])
    return evaluator.evaluate_file(one(args.results), allow_empty_videos=args.allow_empty_videos)


def tracks(args):
    kind = EVALUATORS[MetadataCatalog.get(args.dataset).evaluator_type]
    evaluator = kind(args.dataset, output_folder=args.output)
    prepare(args, [kind.metrics, kind.plot])
    if len(args.results) > 1 and not args.zip:
        return evaluator.compare_results(args.results)
    results = one(args.results)
    if args.zip:
        folder, name = os.path.split(os.path.abspath(args.zip))
        prepare_output(folder, [name], overwrite=args.overwrite, source=results)
    return evaluator.evaluate_results(results, submission=args.zip)


def one(results):
    if len(results) > 1:
        raise InputError(f"--results is given {len(results)} times; expected once: several are for the figures of "
                         "trackers alone")
    return results[0]


def prepare(args, names):
    """Called once the data set is loaded: only then it is known whether its labels are hidden."""
    if args.output and MetadataCatalog.get(args.dataset).get("has_labels") is False:
        raise InputError(f"the labels of {args.dataset} are hidden, so that there are no figures to write; leave "
                         "--output away to have the submission checked")
    if args.output:
        for results in args.results:
            prepare_output(args.output, names, overwrite=args.overwrite, source=results)


def refuse_other_options(args, own):
    """own: what the data set has, a function's name in this file."""
    for option, group in GROUPS.items():
        if group != own and getattr(args, option) not in (None, False):
            raise InputError(f"--{option.replace('_', '-')} is for {group}, but {args.dataset} has {own}; leave it "
                             "away")


def main(argv=None):
    args = parse_arguments(argv)
    for name in ("detectron2", "stpn"):
        setup_logger(name=name)
    ensure_registered([args.dataset])
    kinds = {"imagenet_vid": boxes, "ytvis": masks, **dict.fromkeys(TRACKING_TYPES, tracks)}
    kind = MetadataCatalog.get(args.dataset).get("evaluator_type")
    if kind not in kinds:
        raise InputError(f"{args.dataset} has evaluator_type {kind!r}; expected one of {', '.join(kinds)}")
    refuse_other_options(args, kinds[kind].__name__)
    figures = kinds[kind](args)
    if len(args.results) == 1:  # several have their table
        print_csv_format(figures)


if __name__ == "__main__":
    run_script(main)
