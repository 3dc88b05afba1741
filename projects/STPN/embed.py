#!/usr/bin/env python3
"""Do a model's features tell classes apart, also where objects are fast? A map (t-SNE) of two models, and a number.

    embed.py --config-file configs/toy/stpn.yaml --against configs/toy/baseline.yaml --dataset toy_vid_val
        --output output/embed
    embed.py --config-file configs/toy/stpn.yaml --against configs/toy/baseline.yaml --dataset toy_vid_val
        --split-by clean,deteriorated --output output/embed_groups

Of every labelled object in the chosen frames: what the last layer of the box head makes of its box, with the prompts
that each model gives the frame. Both models are shown the same objects. embed.png (Figure 8 of the paper): a row of
maps for all objects, then one for the slow, medium and fast ones (motion IoU above 0.9, 0.7 to 0.9, below, as in the
evaluation), or for groups of frames that the data set knows; a column for each model, coloured by class.

A map by t-SNE shows what one wants to see, so each has the silhouette of its objects: 1 if the classes are far apart, 0
or less if they are mixed up. It is of the features themselves, since t-SNE pulls clusters apart that are not, and keeps
no distances; that of the map is given beside it. The difference of the two models has an interval of 95%, from drawing
whole videos anew: an interval that holds 0 says that these videos show no difference. Within a class every object
counts alike: with one video a class the silhouette tells videos, not classes. embed.json: all numbers and objects.
"""

import argparse
import json
import logging
from pathlib import Path

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
import numpy as np
from sklearn.manifold import TSNE
from tabulate import tabulate

from stpn.engine.config_file import load_config
from stpn.engine.predictor import VideoPredictor
from stpn.engine.results import prepare_output
from stpn.errors import InputError, atomic_path, run_script
from stpn.explain.feature_map import draw_maps
from stpn.explain.labelled_objects import choose_objects, group_objects, load_objects
from stpn.explain.object_features import of_both, set_features
from stpn.explain.separation import FEWEST, Silhouette, silhouettes

PERPLEXITY = 30  # where the objects are enough for it


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--weights", metavar="FILE", help="instead of the config's MODEL.WEIGHTS")
    parser.add_argument("--against", required=True, metavar="FILE", help="config of the other, such as the baseline")
    parser.add_argument("--against-weights", metavar="FILE")
    parser.add_argument("--dataset", required=True, metavar="NAME", help="labelled boxes in videos")
    parser.add_argument("--split-by", default="speed", metavar="speed|all|GROUP,...", help="speed (default); all: "
                        "not; or names of the data set's groups of frames")
    parser.add_argument("--source", choices=("labels", "detections"), default="labels", help="the boxes: labelled "
                        "(default), or each model's detection there, of the objects that both find")
    parser.add_argument("--videos", type=whole, default=0, metavar="N", help="only so many, evenly from the list")
    parser.add_argument("--frames-per-video", type=whole, default=8, metavar="N", help="evenly from those with "
                        "objects (default 8; 0: all)")
    parser.add_argument("--perplexity", type=float, metavar="P", help=f"of t-SNE (default {PERPLEXITY}, of few "
                        "objects a third of their number)")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="of the interval's draws and of t-SNE, "
                        "which starts from principal components and hardly needs one (default 0)")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--overwrite", action="store_true", help="replace results of an earlier run")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides of both")
    return parser.parse_args(argv)


def whole(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def map_of(features, *, perplexity, seed):
    """-> (n, 2), the same on one machine whenever the seed is the same."""
    n = len(features)
    if perplexity is not None and not 0 < perplexity < n:
        raise InputError(f"--perplexity is {perplexity:g}; expected a number above 0 and below {n} (objects)")
    perplexity = min(PERPLEXITY, (n - 1) / 3) if perplexity is None else perplexity
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)


def names_of(args):
    """-> the two models' names: of their configs or, of one config, of their weights."""
    configs = [Path(path).stem for path in (args.against, args.config_file)]
    weights = [Path(path).stem if path else "config's" for path in (args.against_weights, args.weights)]
    if configs[0] != configs[1]:
        return configs
    return weights if weights[0] != weights[1] else [f"{configs[0]} (against)", f"{configs[1]} (model)"]


def text_of(value, form=".3f"):
    return "" if value is None else format(value, form)


def table(numbers, names):
    """numbers: {group: as from silhouettes, and "in_map": the two silhouettes there} -> text."""
    lines = []
    for group, told in numbers.items():
        interval = " to ".join(text_of(end, "+.3f") for end in told["interval"] or ()) or told["note"]
        lines.append([group, told["objects"], told["videos"], *(text_of(told[key]) for key in ("against", "model")),
                      text_of(told["difference"], "+.3f"), interval,
                      " / ".join(map(text_of, told["in_map"]))])
    headers = ["silhouette", "objects", "videos", *names, "difference", "95% interval", "in the maps"]
    return tabulate(lines, headers, disable_numparse=True)


def object_lines(objects, rows, groups, maps):
    """-> for each object {"video", "frame", "label", "motion_iou" (None: not known), "groups", "against", "model": its
    places in the maps}."""
    truth, classes = objects.truth, objects.metadata.thing_classes
    lines = []
    for i, (row, video, t) in enumerate(zip(rows, objects.videos(rows), objects.times(rows), strict=True)):
        lines.append({"video": video, "frame": int(t), "label": classes[truth.label[row]],
                      "box": truth.box[row].tolist(),
                      "motion_iou": None if truth.motion is None else float(truth.motion[row]),
                      "groups": [name for name, inside in groups.items() if inside[row]],
                      "against": maps[0][i].tolist(), "model": maps[1][i].tolist()})
    return lines


def picture(objects, rows, groups, maps, numbers, names):
    """-> PNG bytes."""
    titles = {}
    for group, told in numbers.items():
        apart = f"difference {told['difference']:+.3f}" if told["model"] is not None else told["note"]
        apart += ", 95%: {:+.3f} to {:+.3f}".format(*told["interval"]) if told["interval"] else ""
        for name, key, more in zip(names, ("against", "model"), ("", apart), strict=True):
            value = "no silhouette" if told[key] is None else f"silhouette {told[key]:.3f}"
            titles[group, name] = f"{told['objects']} objects, {value}\n{more}"
    return draw_maps(dict(zip(names, maps, strict=True)), objects.truth.label[rows],
                     {name: inside[rows] for name, inside in groups.items()}, titles=titles,
                     classes=objects.metadata.thing_classes)


def main(argv=None):
    args = parse_arguments(argv)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("stpn.explain").setLevel(logging.INFO)
    paths = prepare_output(args.output, ["embed.png", "embed.json"], overwrite=args.overwrite)
    objects = load_objects(args.dataset)
    groups = group_objects(objects, args.split_by)
    wanted = choose_objects(objects, videos=args.videos, frames_per_video=args.frames_per_video)
    found = []
    for config, weights in ((args.against, args.against_weights), (args.config_file, args.weights)):
        predictor = VideoPredictor(load_config(config, args.opts), weights=weights)
        found.append(set_features(predictor.model, objects, wanted, prepare=predictor._prepare,
                                  detected=args.source == "detections"))
    rows, spaces = of_both(found)
    if len(rows) < FEWEST:
        raise InputError(f"{args.dataset} gives {len(rows)} objects that both models have features of; a map needs at "
                         f"least {FEWEST}: take more --videos or --frames-per-video")
    maps = [map_of(features, perplexity=args.perplexity, seed=args.seed) for features in spaces]
    labels, videos, numbers = objects.truth.label[rows], np.array(objects.videos(rows)), {}
    for name, inside in groups.items():
        here = inside[rows]
        told = silhouettes([features[here] for features in spaces], labels[here], videos[here], seed=args.seed)
        in_map = [] if told["model"] is None else [Silhouette(xy[here], labels[here], videos[here]) for xy in maps]
        numbers[name] = {**told, "in_map": [one.score() for one in in_map]}
    names = names_of(args)
    content = {"dataset": args.dataset, "against": names[0], "model": names[1], "source": args.source,
               "seed": args.seed, "silhouettes": numbers, "objects": object_lines(objects, rows, groups, maps)}
    with atomic_path(paths[0]) as part:
        part.write_bytes(picture(objects, rows, groups, maps, numbers, names))
    with atomic_path(paths[1]) as part:
        part.write_text(json.dumps(content, indent=1))
    print(table(numbers, names))
    print("files:", ", ".join(paths))


if __name__ == "__main__":
    run_script(main)
