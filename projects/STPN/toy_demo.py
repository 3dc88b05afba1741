#!/usr/bin/env python3
"""The effect of prompts in two minutes: both small trained models on a generated toy video set.

    toy_demo.py --output output/demo

Prints one table (baseline and STPN; AP, AP50 on all, clean and deteriorated frames; frames per second), and
writes a video and a contact sheet that show both side by side on a deteriorated clip.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import time
import warnings
from pathlib import Path

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
import cv2
import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.modeling import build_model
from tabulate import tabulate

from stpn.data.builtin import register_all
from stpn.data.toy import CLASSES
from stpn.data.toy_layout import write_toy
from stpn.engine.config_file import load_config
from stpn.engine.drawing import draw_detections
from stpn.engine.trainer import Trainer
from stpn.engine.video_writer import VideoWriter
from stpn.engine.weights import load_weights
from stpn.errors import atomic_path, run_script

ROOT = Path(__file__).resolve().parents[2]
ROWS = {"baseline": "configs/toy/baseline.yaml", "STPN": "configs/toy/stpn.yaml"}
DATASET = "toy_vid_val"
SEED = 2023  # of the demo's videos: neither trained on nor used for any choice
SHOWN = 0.4  # score from which a box is drawn
ZOOM = 4  # the toy's 96 pixels are small on a screen


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="output/demo")
    parser.add_argument("--videos", type=int, default=60, help="videos to generate and evaluate (32 frames each)")
    return parser.parse_args()


def load(config_file, output):
    """-> (cfg, trained model in eval mode)."""
    cfg = load_config(str(ROOT / config_file), ["OUTPUT_DIR", str(output)])
    model = build_model(cfg).eval()
    load_weights(model, cfg.MODEL.WEIGHTS)
    return cfg, model


def evaluate(cfg, model):
    """-> AP, AP50, AP50 clean, AP50 deteriorated, in percent."""
    with contextlib.redirect_stdout(io.StringIO()):
        loader = Trainer.build_test_loader(cfg, DATASET)
        box = inference_on_dataset(model, loader, Trainer.build_evaluator(cfg, DATASET))["bbox"]
    return [box[key] for key in ("AP", "AP50", "AP50-clean", "AP50-deteriorated")]


def speeds(models, videos, rounds=3):
    """Frames per second of each model on the same videos, in turn, so that a busy machine slows all alike."""
    spent = dict.fromkeys(models, 0.0)
    for turn in range(rounds):
        for name in list(models)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            models[name](videos)
            spent[name] += time.perf_counter() - start
    frames = rounds * sum(video["frames"].length for video in videos)
    return {name: frames / seconds for name, seconds in spent.items()}


def frames_right(output):
    """Ids of the frames whose best detection has the class of one of its objects."""
    wanted = {d["image_id"]: {a["category_id"] for a in d["annotations"]} for d in DatasetCatalog.get(DATASET)}
    best = {}
    for box in json.loads((output / "inference" / DATASET / "vid_detections.json").read_text()):
        if box["score"] > best.get(box["image_id"], {"score": 0})["score"]:
            best[box["image_id"]] = box
    return {i for i, box in best.items() if box["category_id"] in wanted[i]}


def most_telling(videos, baseline, prompted):
    """Of the videos with one object that with the largest difference of frames right: it shows what prompts can
    do, not what they do on average."""
    crowded = {d["video_id"] for d in DatasetCatalog.get(DATASET) if len(d["annotations"]) > 1}
    alone = [video for video in videos if video["video_id"] not in crowded] or videos
    return max(alone, key=lambda video: sum((i in prompted) - (i in baseline) for i in video["image_ids"]))


def panel(item, found, title, names):
    """One frame of one model, enlarged and titled: (H, W, 3) RGB."""
    frame = item["frame"].image
    found = found[found.scores > SHOWN]
    found.pred_boxes.scale(ZOOM, ZOOM)
    big = cv2.resize(frame, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    drawn = draw_detections(big, found, names)
    bar = np.full((36, drawn.shape[1], 3), 255, np.uint8)
    cv2.putText(bar, title, (8, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([bar, drawn])


def side_by_side(models, video, states, names):
    """Yield (state, picture) for each frame: baseline left, STPN right."""
    streams = [model.stream(video["frames"]) for model in models.values()]
    for state, *row in zip(states, *streams):
        panels = [panel(item, found, f"{name}  ({state})", names) for name, (_, item, found) in zip(models, row)]
        yield state, np.concatenate(panels, 1)


def contact_sheet(pictures, columns=2):
    """Every fourth frame from top to bottom, columns of pictures side by side, half size."""
    small = [cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for _, p in pictures[::4]]
    rows = [np.concatenate(small[i:i + columns], 1) for i in range(0, len(small) - columns + 1, columns)]
    return np.concatenate(rows)


def write_pictures(models, video, groups, names, output):
    kinds = {i: kind for kind, ids in groups.items() if kind != "deteriorated" for i in ids}
    states = [kinds[i] for i in video["image_ids"]]
    pictures = list(side_by_side(models, video, states, names))
    with VideoWriter(output / "side_by_side.mp4", fps=8) as writer:
        for t, (_, picture) in enumerate(pictures):
            writer.write(picture, t / 8)
    with atomic_path(output / "contact_sheet.png") as part:
        cv2.imwrite(str(part), contact_sheet(pictures)[:, :, ::-1])


def main():
    args = parse_arguments()
    output = Path(args.output).resolve()
    start = time.time()
    os.environ["DETECTRON2_DATASETS"] = str(output / "datasets")
    logging.getLogger("detectron2").setLevel(logging.ERROR)
    logging.getLogger("torch.fx").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # of the libraries, about each other
    torch.set_num_threads(1)  # the models are so small that threads mostly wait for each other
    register_all()
    print(f"generating {args.videos} toy videos in {output / 'datasets'} ...", flush=True)
    write_toy(output / "datasets" / "toy_vid", split="val", videos=args.videos, seed=SEED)
    DatasetCatalog.get(DATASET)
    groups = MetadataCatalog.get(DATASET).frame_groups
    configs, models, rows = {}, {}, []
    for name, file in ROWS.items():
        configs[name], models[name] = load(file, output / name.lower())
        print(f"evaluating {name} ...", flush=True)
        rows.append([name, *(f"{v:.1f}" for v in evaluate(configs[name], models[name]))])
    videos = [sample for batch in Trainer.build_test_loader(configs["STPN"], DATASET) for sample in batch]
    rate = speeds(models, videos[:2])
    rows = [[*row, f"{rate[row[0]]:.0f}"] for row in rows]
    clip = most_telling(videos, *(frames_right(output / name.lower()) for name in ROWS))
    write_pictures(models, clip, groups, list(CLASSES), output)
    print()
    print(tabulate(rows, headers=["", "AP", "AP50 all", "AP50 clean", "AP50 deteriorated", "frames/s (one thread)"],
                   disable_numparse=True))
    print(f"""
{args.videos} generated videos of 32 frames, seed {SEED}; {time.time() - start:.0f} s in all.
pictures: {output / 'side_by_side.mp4'}
          {output / 'contact_sheet.png'}
          (of the videos with one object that on which the two differ most: {clip["video_id"]})

Next, with .venv/bin on PATH:
  your own video   demo.py --config-file configs/toy/stpn.yaml --input clip.mp4 --output output/mine
                   (the toy model knows only the toy's classes: give --config-file and --weights of yours)
  your own data    datasets/README.md, then
                   train_net.py --config-file configs/stpn_vid_swint.yaml --num-gpus 8""")


if __name__ == "__main__":
    run_script(main)
