#!/usr/bin/env python3
"""Two models on one video, side by side, and where they differ: boxes, masks or tracks.

    compare.py --config-file configs/toy/stpn.yaml --against configs/toy/baseline.yaml --input clip.mp4
        --output output/compare
    compare.py --config-file configs/toy/vot_stpn_score.yaml --against configs/toy/vot_baseline_score.yaml
        --dataset toy_got10k_val --video GOT-10k_Val_000001 --output output/compare

With --dataset and --video the labels are the first picture. <name>.mp4: the labels, --against, the model.
<name>.jsonl: a line for each frame in which one finds what the other misses (same class, IoU of at least 0.5, of
masks where there are any; of trackers by target), or, with labels, in which one finds a label that the other misses:
class, score and box (x1 y1 x2 y2) of each such thing. <name>.json: all of it counted, as printed at the end; `frames`
are those in which one alone finds something, `label_frames` those in which it alone finds a label.
A tracker starts from --init, or from the labels.
"""

import argparse
import contextlib
import json
import logging
import sys
from pathlib import Path

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
import numpy as np
from detectron2.structures import Boxes, Instances

from stpn.config import class_count
from stpn.data.source import open_source
from stpn.engine.config_file import load_config
from stpn.engine.drawing import draw_detections
from stpn.engine.predictor import VideoPredictor
from stpn.engine.results import JsonLinesWriter, prepare_output
from stpn.engine.start_boxes import is_tracker, joined_boxes, parse_box
from stpn.engine.video_writer import VideoWriter
from stpn.errors import InputError, atomic_path, run_script
from stpn.explain.pictures import titled
from stpn.explain.tally import SIDES, Tally, table
from stpn.explain.truth import check_labels, labelled_video

_GAP = 4  # pixels between pictures
_NARROW, _WIDE = 240, 480  # pixels: smaller frames are enlarged; larger ones have larger titles


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--weights", metavar="FILE", help="instead of the config's MODEL.WEIGHTS")
    parser.add_argument("--against", required=True, metavar="FILE", help="config of the other, such as the baseline")
    parser.add_argument("--against-weights", metavar="FILE")
    parser.add_argument("--input", metavar="FILE|FOLDER|GLOB")
    parser.add_argument("--dataset", metavar="NAME", help="instead of --input: a data set, for its labels")
    parser.add_argument("--video", metavar="ID", help="one of its videos")
    parser.add_argument("--init", action="append", metavar="X,Y,W,H", help="a tracker's target in the first frame")
    parser.add_argument("--score-threshold", type=float, metavar="S",
                        help="0 to 1, default 0.5; not for trackers, whose boxes are all shown")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--overwrite", action="store_true", help="replace results of an earlier run")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides of both")
    return parser.parse_args(joined_boxes(sys.argv[1:] if argv is None else argv))


def opened(args):
    """-> (VideoSource, {t: Instances of the labels}, first boxes or None)."""
    if bool(args.input) == bool(args.dataset) or bool(args.dataset) != bool(args.video):
        raise InputError("give either --input, or --dataset and --video")
    if args.dataset:
        return labelled_video(args.dataset, args.video)
    return open_source(args.input), {}, None


def side_by_side(image, columns, names):
    """columns: {title: Instances} -> one picture of them beside each other, titles above. Small frames are enlarged, so
    that labels, which cannot shrink with them, leave the objects to be seen."""
    factor, pictures = -(-_NARROW // image.shape[1]), []
    image = image.repeat(factor, 0).repeat(factor, 1)
    for title, found in columns.items():
        picture = draw_detections(image, enlarged(found, factor), names)
        picture = titled(picture, title, size=max(1, round(image.shape[1] / _WIDE)))
        pictures.append(np.pad(picture, ((0, 0), (0, _GAP), (0, 0)), constant_values=255))
    return np.concatenate(pictures, axis=1)


def enlarged(found, factor):
    """Instances -> the same on a frame of factor times the width and height."""
    fields = {**found.get_fields(), "pred_boxes": Boxes(found.pred_boxes.tensor * factor)}
    if found.has("pred_masks"):
        fields["pred_masks"] = found.pred_masks.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    return Instances(tuple(factor * side for side in found.image_size), **fields)


def unscored(labels):
    """-> labels as they are drawn: a score of 100% would say nothing."""
    labels = labels[:]
    labels.scores = labels.scores * float("nan")
    return labels


def shown(predictor, result, threshold):
    """A tracker's boxes are all shown, lost or not."""
    found = result.predictions
    return found if is_tracker(predictor.model) else found[found.scores >= threshold]


def headers(args):
    """-> of the printed table: which is which."""
    configs = args.against, args.config_file
    return [f"{side}: {Path(config).stem}" for side, config in zip(SIDES, configs, strict=True)]


def models_of(args):
    """-> VideoPredictor of --against and of the model. InputError for two that cannot be compared, and for --init where
    they are no trackers."""
    predictors = [VideoPredictor(load_config(config, args.opts), weights=weights)
                  for config, weights in ((args.against, args.against_weights), (args.config_file, args.weights))]
    if predictors[0].class_names != predictors[1].class_names or len({type(p.model).__name__ for p in predictors}) > 1:
        raise InputError(f"{args.against} and {args.config_file} describe models of other kinds or classes; give two "
                         "of one task and one class table")
    if args.init and not is_tracker(predictors[0].model):
        raise InputError("--init is for trackers, but these models find their objects themselves; leave it out")
    return predictors


def starting_boxes(args, model, labelled):
    """labelled: boxes of the labels, or None. -> what a tracker starts from, None for other models."""
    if not is_tracker(model):
        return None
    if not args.init and not labelled:
        raise InputError("a tracker needs the box of its target in the first frame; give --init x,y,w,h, or --dataset "
                         "and --video")
    return [parse_box(text) for text in args.init] if args.init else labelled


def threshold_of(args, model):
    """-> the least score of what is shown and compared, None for a tracker, whose boxes all are."""
    given = args.score_threshold
    if is_tracker(model):
        if given is not None:
            raise InputError("--score-threshold is not for trackers, whose boxes are all shown and compared; leave it "
                             "out")
        return None
    if given is not None and not 0 <= given <= 1:
        raise InputError(f"--score-threshold is {given:g}; expected a score of 0 to 1")
    return 0.5 if given is None else given


def both_results(predictors, sources, boxes):
    """Yield the FrameResults of both models, frame by frame."""
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(contextlib.closing(predictor.stream(source, boxes=boxes)))
                   for predictor, source in zip(predictors, sources, strict=True)]
        yield from zip(*streams, strict=True)


def compare_frames(predictors, pairs, *, truth, threshold, video, lines):
    """pairs: of both_results; truth: {t: Instances of the labels}. Write each frame's picture and, where the models
    differ, its line. -> Tally"""
    names = predictors[-1].class_names
    tally = Tally(names)
    for results in pairs:
        found = [shown(*pair, threshold) for pair in zip(predictors, results, strict=True)]
        t, image, time = results[0].index, results[0].image, results[0].time
        columns = {"labels": unscored(truth[t]) if t in truth else found[0][:0]} if truth else {}
        columns |= dict(zip(SIDES, found, strict=True))
        video.write(side_by_side(image, columns, names), time)
        if told := tally.add(t, found, truth.get(t)):
            lines.write({"index": t, "time": round(time, 6), **told})
    return tally


def main(argv=None):
    args = parse_arguments(argv)
    logging.basicConfig(format="%(message)s")
    predictors = models_of(args)
    own, threshold = predictors[-1], threshold_of(args, predictors[-1].model)
    (source, truth, starts), (again, _, _) = opened(args), opened(args)
    with source, again:
        if args.dataset:
            check_labels(args.dataset, own.cfg, own.class_names, class_count(own.cfg))
        boxes = starting_boxes(args, own.model, starts)
        paths = prepare_output(args.output, [f"{source.name}.{kind}" for kind in ("mp4", "jsonl", "json")],
                               overwrite=args.overwrite, source=args.input)
        with VideoWriter(paths[0], fps=source.fps) as video, JsonLinesWriter(paths[1]) as lines, \
                contextlib.closing(both_results(predictors, (source, again), boxes)) as pairs:
            summary = compare_frames(predictors, pairs, truth=truth, threshold=threshold, video=video,
                                     lines=lines).summary()
    with atomic_path(paths[2]) as part:
        part.write_text(json.dumps({"score_threshold": threshold, **summary}, indent=1))
    print(f"{summary['frames']} frames, {summary['frames_that_differ']} in which the two differ\n")
    print(table(summary, headers(args)))
    print(f"\nfiles: {', '.join(paths)}")


if __name__ == "__main__":
    run_script(main)
