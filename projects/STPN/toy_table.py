#!/usr/bin/env python3
"""The toy table: several seeds of both arms, and the controls that must lose the gain.

    toy_table.py --baseline output/toy/baseline_*/model_final.pth --stpn output/toy/stpn_*/model_final.pth
    toy_table.py --task vis --baseline output/toy/vis_baseline_*/model_final.pth --stpn ...

Rows: baseline; STPN; STPN whose supports come from another video; STPN with the frame itself as its only
support; STPN without prompts. Figures: of boxes AP and AP50, of masks (--task vis) AP and AP50 of tracks, in
percent, mean over the weights of an arm, and their spread.
"""

import argparse
import json
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from detectron2.data import DatasetCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.modeling import build_model
from tabulate import tabulate

from stpn.data.builtin import register_all
from stpn.data.toy_layout import write_toy
from stpn.data.toy_ytvis import write_toy_ytvis
from stpn.engine.config_file import load_config
from stpn.engine.trainer import Trainer
from stpn.engine.weights import load_weights
from stpn.errors import atomic_path, run_script
from stpn.prompting import SupportSampler

ROOT = Path(__file__).resolve().parents[2]


class Task(NamedTuple):
    """write(root, split=, videos=, seed=): makes `dataset` in `folder`. prefix: begins the names of the configs; kind:
    of the results in the evaluator's figures; column(name): whether a figure is one of the table's."""

    write: Callable
    folder: str
    dataset: str
    prefix: str
    kind: str
    column: Callable


MASK_COLUMNS = [f"{figure}{group}" for group in ("", "-clean", "-deteriorated") for figure in ("AP", "AP50")]
TASKS = {
    "vod": Task(write_toy, "toy_vid", "toy_vid_val", "", "bbox", lambda name: name.startswith("AP50") or name == "AP"),
    "vis": Task(write_toy_ytvis, "toy_ytvis", "toy_ytvis_val", "vis_", "segm", MASK_COLUMNS.__contains__),
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="vod")
    parser.add_argument("--baseline", nargs="+", required=True, metavar="FILE", help="weights, one for each seed")
    parser.add_argument("--stpn", nargs="+", required=True, metavar="FILE")
    parser.add_argument("--videos", type=int, default=150)
    parser.add_argument("--seed", type=int, default=11, help="of the validation videos")
    parser.add_argument("--rows", nargs="+", type=int, choices=range(5), default=range(5), metavar="N",
                        help="only these rows, counted from 0 as above")
    parser.add_argument("--output", default="output/toy_table")
    return parser.parse_args()


def supports_of_another_video(model, loader):
    """Frame t of a video is supported by the frames of the video before it in the list (the first: the last)."""
    videos = [video["frames"] for batch in loader for video in batch]
    other = {frames.name: videos[i - 1] for i, frames in enumerate(videos)}
    embed, prompted = model._embed_frame, model.prompted

    def prompted_by_other(frames, sampler=None):
        items = list(other[frames.name])
        model._embed_frame = lambda item: embed(items[min(item["frame"].index, len(items) - 1)])
        return prompted(frames, sampler)

    model.prompted = prompted_by_other


def own_frame_only(model, loader):
    model.sampler = SupportSampler(policy="causal", stride=1, frames_per_side=1)


def no_prompts(model, loader):
    model.prompt_predictor = None


# Row -> (arm, config, what is done to the trained model before it is evaluated).
ROWS = {
    "baseline": ("baseline", "baseline", None),
    "STPN": ("stpn", "stpn", None),
    "STPN, supports of another video": ("stpn", "stpn", supports_of_another_video),
    "STPN, own frame as only support": ("stpn", "stpn", own_frame_only),
    "STPN, no prompts": ("stpn", "stpn", no_prompts),
}


def evaluate(task, config, weights, *, change, output):
    """-> {"AP": ..., "AP50": ..., "AP50-clean": ..., ...} in percent."""
    cfg = load_config(str(ROOT / f"configs/toy/{task.prefix}{config}.yaml"), ["OUTPUT_DIR", str(output)])
    model = build_model(cfg).eval()
    load_weights(model, weights)
    loader = Trainer.build_test_loader(cfg, task.dataset)
    if change:
        change(model, loader)
    figures = inference_on_dataset(model, loader, Trainer.build_evaluator(cfg, task.dataset))[task.kind]
    return {name: value for name, value in figures.items() if task.column(name)}


def cell(values):
    return f"{mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main():
    args = parse_arguments()
    task = TASKS[args.task]
    output = Path(args.output).resolve()
    os.environ["DETECTRON2_DATASETS"] = str(output / "datasets")
    logging.getLogger("detectron2").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # of the libraries, about each other
    register_all()
    task.write(output / "datasets" / task.folder, split="val", videos=args.videos, seed=args.seed)
    DatasetCatalog.get(task.dataset)
    found = {}
    for row in [list(ROWS)[number] for number in args.rows]:
        arm, config, change = ROWS[row]
        found[row] = [evaluate(task, config, weights, change=change, output=output) for weights in getattr(args, arm)]
        print(row, [{k: round(v, 1) for k, v in f.items()} for f in found[row]], flush=True)
    with atomic_path(output / "toy_table.json") as part:
        settings = {"task": args.task, "videos": args.videos, "seed": args.seed}
        part.write_text(json.dumps({**settings, "rows": found}, indent=1))
    columns = list(next(iter(found.values()))[0])
    print(tabulate([[row, *(cell([f[c] for f in runs]) for c in columns)] for row, runs in found.items()],
                   headers=["", *columns]))


if __name__ == "__main__":
    run_script(main)
