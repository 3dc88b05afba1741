#!/usr/bin/env python3
"""Two models on one video, side by side, and where they differ: boxes, masks or tracks.

    compare.py --config-file configs/toy/stpn.yaml --against configs/toy/baseline.yaml --input clip.mp4
        --output output/compare
    compare.py --config-file configs/toy/vot_stpn_score.yaml --against configs/toy/vot_baseline_score.yaml
        --dataset toy_got10k_val --video GOT-10k_Val_000001 --output output/compare

With --dataset and --video the labels are the first picture. <name>.mp4: the labels, --against, the model.
<name>.jsonl: a line for each frame in which one finds what the other misses (same class, IoU of at least 0.5; of
trackers by target), or, with labels, in which one finds more of them. A tracker starts from --init, or from the labels.
"""

import argparse
import logging
import sys

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
import numpy as np

from stpn.data.source import open_source
from stpn.engine.config_file import load_config
from stpn.engine.drawing import draw_detections, draw_note
from stpn.engine.predictor import VideoPredictor
from stpn.engine.results import JsonLinesWriter, prepare_output
from stpn.engine.start_boxes import is_tracker, joined_boxes, parse_box
from stpn.engine.video_writer import VideoWriter
from stpn.errors import InputError, run_script
from stpn.explain.difference import difference
from stpn.explain.truth import labelled_video

_GAP = 4  # pixels between pictures


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
    parser.add_argument("--score-threshold", type=float, default=0.5, metavar="S",
                        help="default 0.5; a tracker's boxes are shown all the same")
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


def frame_difference(models, truth, names):
    """models: Instances of --against and of the model; truth: of the labels or None. -> what to tell, {} if nothing."""
    against, model = models
    apart = difference(against, model)
    told = {"against_alone": described(against, apart.first, names),
            "model_alone": described(model, apart.second, names)}
    if truth is not None:
        right = [{j for _, j in difference(found, truth).both} for found in models]
        told |= {"labels": len(truth), "labels_by_against_alone": described(truth, sorted(right[0] - right[1]), names),
                 "labels_by_model_alone": described(truth, sorted(right[1] - right[0]), names)}
    return told if any(value for value in told.values() if isinstance(value, list)) else {}


def described(found, indices, names):
    return [{"label": names[int(found.pred_classes[i])], "score": round(float(found.scores[i]), 5),
             "box": [round(v, 2) for v in found.pred_boxes.tensor[i].tolist()]} for i in indices]


def side_by_side(image, columns, names):
    """columns: {title: Instances} -> one picture of them beside each other."""
    pictures = []
    for title, found in columns.items():
        picture = draw_note(draw_detections(image, found, names), title)
        pictures.append(np.pad(picture, ((0, 0), (0, _GAP), (0, 0)), constant_values=255))
    return np.concatenate(pictures, axis=1)


def shown(predictor, result, threshold):
    """A tracker's boxes are all shown, lost or not."""
    found = result.predictions
    return found if is_tracker(predictor.model) else found[found.scores >= threshold]


def main(argv=None):
    args = parse_arguments(argv)
    logging.basicConfig(format="%(message)s")
    predictors = [VideoPredictor(load_config(config, args.opts), weights=weights)
                  for config, weights in ((args.against, args.against_weights), (args.config_file, args.weights))]
    names = predictors[-1].class_names
    if predictors[0].class_names != names or len({type(p.model).__name__ for p in predictors}) > 1:
        raise InputError(f"{args.against} and {args.config_file} describe models of other kinds or classes; give two "
                         "of one task and one class table")
    tracks = is_tracker(predictors[0].model)
    if args.init and not tracks:
        raise InputError("--init is for trackers, but these models find their objects themselves; leave it out")
    (source, truth, starts), (again, _, _) = opened(args), opened(args)
    boxes = [parse_box(text) for text in args.init] if args.init else starts
    paths = prepare_output(args.output, [f"{source.name}.mp4", f"{source.name}.jsonl"], overwrite=args.overwrite,
                           source=args.input)
    if tracks and not boxes:
        raise InputError("a tracker needs the box of its target in the first frame; give --init x,y,w,h, or --dataset "
                         "and --video")
    more = {"boxes": boxes} if tracks else {}
    streams = [p.stream(s, **more) for p, s in zip(predictors, (source, again), strict=True)]
    different = compared = 0
    with VideoWriter(paths[0], fps=source.fps) as video, JsonLinesWriter(paths[1]) as lines, source, again:
        for results in zip(*streams, strict=True):
            found = [shown(*pair, args.score_threshold) for pair in zip(predictors, results, strict=True)]
            t, image, compared = results[0].index, results[0].image, compared + 1
            columns = {"labels": truth[t]} if t in truth else {"labels": found[0][:0]} if truth else {}
            columns |= {"against": found[0], "model": found[1]}
            picture = side_by_side(image, columns, names)
            video.write(picture, results[0].time)
            told = frame_difference(found, truth.get(t), names)
            different += bool(told)
            if told:
                lines.write({"index": t, "time": round(results[0].time, 6), **told})
    print(f"{compared} frames, {different} in which the two differ; files: {', '.join(paths)}")


if __name__ == "__main__":
    run_script(main)
