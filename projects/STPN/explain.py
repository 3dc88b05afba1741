#!/usr/bin/env python3
"""Why a detector finds what it finds in a video: Grad-CAM of its encoder, and what its prompts read.

    explain.py --config-file configs/toy/stpn.yaml --input clip.mp4 --frames 4 12 20 --output output/explain
        --against configs/toy/baseline.yaml

grad_cam.png: the frames with the surest detection of the model; below, the heat of --against (the baseline) for that
box and class, and the model's own (Figure 6 of the paper). support_reading.png: the first of the frames, how much
each prompt reads of each part of its support frames. prompt_reading.png: which parts of the frame read each prompt,
in the last block of each stage. explain.json: the boxes, scores and shares as numbers.
"""

import argparse
import json
import logging
from pathlib import Path

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
import cv2
import torch

from stpn.data.source import open_source
from stpn.engine.config_file import load_config
from stpn.engine.drawing import draw_detections
from stpn.engine.predictor import VideoPredictor
from stpn.engine.readable_frames import ReadableFrames
from stpn.engine.results import prepare_output
from stpn.errors import InputError, atomic_path, run_script
from stpn.explain import explained_frames, grad_cam, prompt_reading, support_reading
from stpn.explain.pictures import grid, heat, scaled, titled

WIDTH = 200  # pixels of a picture in the sheets


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--weights", metavar="FILE", help="instead of the config's MODEL.WEIGHTS")
    parser.add_argument("--against", metavar="FILE", help="config of the model to compare with, such as the baseline")
    parser.add_argument("--against-weights", metavar="FILE")
    parser.add_argument("--input", required=True, metavar="FILE|FOLDER|GLOB")
    parser.add_argument("--frames", type=int, nargs="+", required=True, metavar="T", help="frame numbers from 0")
    parser.add_argument("--stage", default="res4", help="stage of the encoder for Grad-CAM (default res4)")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--overwrite", action="store_true", help="replace results of an earlier run")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides")
    return parser.parse_args(argv)


def collect(predictor, source, wanted):
    """-> list of Explained, one a wanted frame. InputError where the video has not got one."""
    with open_source(source) as opened:
        frames = ReadableFrames(opened, predictor._prepare, fields=())
        found = list(explained_frames(predictor.model, frames, wanted, sampler=predictor.sampler(opened)))
    missing = sorted(set(wanted) - {frame.t for frame in found})
    if missing:
        raise InputError(f"{source} has no frame {missing[0]}; expected numbers below its length, from 0")
    return found


def surest(model, frame):
    """-> Instances with the detection of the largest score, none where nothing is found."""
    found = model.detect(frame.item, frame.prompts)
    return found[found.scores.argsort(descending=True)[:1]]


def cam(model, frame, detection, stage):
    """-> (Grad-CAM (h, w) of that detection's box and class in this model, logit). h, w: as the model reads."""
    item = frame.item
    scale = item["image"].shape[2] / item["width"], item["image"].shape[1] / item["height"]
    box = (detection.pred_boxes.tensor[0] * detection.pred_boxes.tensor.new_tensor([*scale, *scale])).tolist()
    return grad_cam(model, item, box=box, label=int(detection.pred_classes[0]), stage=stage, prompts=frame.prompts)


def column(models, frames, stage, names):
    """One frame: pictures from top to bottom, and its numbers. frames: Explained of each model, the last one's own."""
    detection, own = surest(models[-1], frames[-1]), frames[-1]
    image = own.item["frame"].image
    told = {"frame": own.t, "detection": None}
    if not len(detection):
        return [titled(image, f"frame {own.t}: nothing found", width=WIDTH)], told
    label, score = names[int(detection.pred_classes[0])], float(detection.scores[0])
    pictures = [titled(draw_detections(image, detection, names), f"frame {own.t}", width=WIDTH)]
    told["detection"] = {"label": label, "score": score, "box": detection.pred_boxes.tensor[0].tolist(), "logits": []}
    for name, model, frame in zip(("against", "model")[-len(models):], models, frames, strict=True):
        values, logit = cam(model, frame, detection, stage)
        pictures.append(titled(heat(image, values), f"{name}: logit {logit:.1f}", width=WIDTH))
        told["detection"]["logits"].append({name: logit})
    return pictures, told


def merged_reading(reads, frame):
    """reads: (P, K, h, w). -> (the same with each support frame once, one that is repeated at the video's end as the
    sum of its repetitions, {frame number: picture})."""
    pictures = dict(zip(frame.indices, frame.images, strict=True))
    places = [[k for k, i in enumerate(frame.indices) if i == wanted] for wanted in pictures]
    return torch.stack([reads[:, place].sum(1) for place in places], 1), pictures


def reading_sheets(model, frame):
    """-> (support_reading.png, prompt_reading.png, numbers), of a model with prompts."""
    reads, pictures = merged_reading(support_reading(model.prompt_predictor, frame.support), frame)
    rows = [[titled(heat(image, scaled(reads[p])[k]), f"prompt {p}, frame {i}: {reads[p, k].sum():.0%}", width=WIDTH)
             for k, (i, image) in enumerate(pictures.items())] for p in range(len(reads))]
    maps = prompt_reading(model.backbone, model.images([frame.item["image"]]).tensor, frame.prompts)
    last = [i for i, m in enumerate(maps) if i + 1 == len(maps) or maps[i + 1].shape != m.shape]
    image = frame.item["frame"].image
    below = [[titled(heat(image, scaled(maps[i][p])), f"block {i}, prompt {p}: {maps[i][p].mean():.1%}", width=WIDTH)
              for p in range(len(maps[i]))] for i in last]
    told = {"frame": frame.t, "support_frames": list(pictures), "prompt_reads_frame": reads.sum((2, 3)).tolist(),
            "patches_read_prompts": [m.mean((1, 2)).tolist() for m in maps]}
    return grid(rows), grid(below), told


def main(argv=None):
    args = parse_arguments(argv)
    logging.basicConfig(format="%(message)s")
    asked = [(args.against, args.against_weights)] if args.against else []
    asked.append((args.config_file, args.weights))
    predictors = [VideoPredictor(load_config(config, args.opts), weights=weights) for config, weights in asked]
    models = [predictor.model for predictor in predictors]
    if not all(hasattr(model, "detect") for model in models):
        raise InputError("explain.py shows detectors (VideoObjectDetector); give the configuration of one")
    names = ["grad_cam.png", "support_reading.png", "prompt_reading.png", "explain.json"]
    paths = dict(zip(names, prepare_output(args.output, names, overwrite=args.overwrite, source=args.input),
                     strict=True))
    frames = [collect(predictor, args.input, args.frames) for predictor in predictors]
    columns = [column(models, one, args.stage, predictors[-1].class_names) for one in zip(*frames, strict=True)]
    depth = max(len(pictures) for pictures, _ in columns)
    rows = [[pictures[i] for pictures, _ in columns if i < len(pictures)] for i in range(depth)]
    content, numbers = {"grad_cam.png": grid(rows)}, {"stage": args.stage, "frames": [told for _, told in columns]}
    if models[-1].prompt_predictor is not None:
        content["support_reading.png"], content["prompt_reading.png"], numbers["prompts"] = reading_sheets(
            models[-1], frames[-1][0])
    for name, picture in content.items():
        with atomic_path(paths[name]) as part:
            part.write_bytes(cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes())
    with atomic_path(paths["explain.json"]) as part:
        part.write_text(json.dumps(numbers, indent=1))
    print("files:", ", ".join(str(Path(paths[name])) for name in [*content, "explain.json"]))


if __name__ == "__main__":
    run_script(main)
