#!/usr/bin/env python3
"""The toy table: several seeds of both arms, and the controls that must lose the gain.

    toy_table.py --baseline output/toy/baseline_*/model_final.pth --stpn output/toy/stpn_*/model_final.pth
    toy_table.py --task vis --baseline output/toy/vis_baseline_*/model_final.pth --stpn ...
    toy_table.py --task vot --baseline output/toy/vot_baseline_score_*/model_final.pth --stpn ...

Rows: baseline; STPN; STPN whose supports come from another video; STPN with the frame itself as its only
support (not of trackers, whose supports are of the past); STPN without prompts. Figures: of boxes AP and AP50, of
masks (--task vis) AP and AP50 of tracks, of trackers (--task vot) AO, SR0.5 and SR0.75, in percent, mean over the
weights of an arm, and their spread.
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
from stpn.data.toy_got10k import write_toy_got10k
from stpn.data.toy_layout import write_toy
from stpn.data.toy_ytvis import write_toy_ytvis
from stpn.engine.config_file import load_config
from stpn.engine.trainer import Trainer
from stpn.engine.weights import load_weights
from stpn.errors import InputError, atomic_path, run_script
from stpn.study import controls

ROOT = Path(__file__).resolve().parents[2]


class Task(NamedTuple):
    """write(root, split=, videos=, seed=): makes `dataset` in `folder`. configs: their names around the arm's; kind:
    of the results in the evaluator's figures; column(name): whether a figure is one of the table's; controls: what is
    done to the trained STPN model in rows 2 to 4, None: there is no such row."""

    write: Callable
    folder: str
    dataset: str
    configs: str
    kind: str
    column: Callable
    controls: tuple = (controls.of_another_video, controls.own_frame_only, controls.no_prompts)


def _columns(*figures):
    return [f"{figure}{group}" for group in ("", "-clean", "-deteriorated") for figure in figures].__contains__


TASKS = {
    "vod": Task(write_toy, "toy_vid", "toy_vid_val", "{}", "bbox",
                lambda name: name.startswith("AP50") or name == "AP"),
    "vis": Task(write_toy_ytvis, "toy_ytvis", "toy_ytvis_val", "vis_{}", "segm", _columns("AP", "AP50")),
    "vot": Task(write_toy_got10k, "toy_got10k", "toy_got10k_val", "vot_{}_score", "got10k",
                _columns("AO", "SR0.5", "SR0.75"), (controls.of_another_video, None, controls.no_prompts)),
}
ROWS = ("baseline", "STPN", "STPN, supports of another video", "STPN, own frame as only support", "STPN, no prompts")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="vod")
    parser.add_argument("--baseline", nargs="+", required=True, metavar="FILE", help="weights, one for each seed")
    parser.add_argument("--stpn", nargs="+", required=True, metavar="FILE")
    parser.add_argument("--videos", type=int, default=150)
    parser.add_argument("--seed", type=int, default=11, help="of the validation videos")
    parser.add_argument("--rows", nargs="+", type=int, choices=range(5), metavar="N",
                        help="only these rows, counted from 0 as above")
    parser.add_argument("--options", nargs="+", default=[], metavar="KEY VALUE", help="of the configuration")
    parser.add_argument("--output", default="output/toy_table")
    return parser.parse_args()


def evaluate(task, arm, weights, *, change, options, output):
    """-> {"AP": ..., "AP50": ..., "AP50-clean": ..., ...} in percent."""
    file = ROOT / f"configs/toy/{task.configs.format(arm)}.yaml"
    cfg = load_config(str(file), ["OUTPUT_DIR", str(output), *options])
    model = build_model(cfg).eval()
    load_weights(model, weights)
    loader = Trainer.build_test_loader(cfg, task.dataset)
    if change:
        change(model, loader)
    figures = inference_on_dataset(model, loader, Trainer.build_evaluator(cfg, task.dataset))[task.kind]
    return {name: value for name, value in figures.items() if task.column(name)}


def chosen_rows(task, numbers):
    """-> {row: (arm, what is done to the model)}."""
    every = [("baseline", None), ("stpn", None), *(("stpn", change) for change in task.controls)]
    there = [number for number, (_, change) in enumerate(every) if number < 2 or change]
    if not set(numbers or ()) <= set(there):
        raise InputError(f"--rows got {numbers}; this task has rows {there}")
    return {ROWS[number]: every[number] for number in numbers or there}


def cell(values):
    return f"{mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main():
    args = parse_arguments()
    task = TASKS[args.task]
    rows = chosen_rows(task, args.rows)
    output = Path(args.output).resolve()
    os.environ["DETECTRON2_DATASETS"] = str(output / "datasets")
    logging.getLogger("detectron2").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # of the libraries, about each other
    register_all()
    task.write(output / "datasets" / task.folder, split="val", videos=args.videos, seed=args.seed)
    DatasetCatalog.get(task.dataset)
    found = {}
    for row, (arm, change) in rows.items():
        found[row] = [evaluate(task, arm, weights, change=change, options=args.options, output=output)
                      for weights in getattr(args, arm)]
        print(row, [{k: round(v, 1) for k, v in f.items()} for f in found[row]], flush=True)
    with atomic_path(output / "toy_table.json") as part:
        settings = {"task": args.task, "videos": args.videos, "seed": args.seed}
        part.write_text(json.dumps({**settings, "rows": found}, indent=1))
    columns = list(next(iter(found.values()))[0])
    print(tabulate([[row, *(cell([f[c] for f in runs]) for c in columns)] for row, runs in found.items()],
                   headers=["", *columns]))


if __name__ == "__main__":
    run_script(main)
