#!/usr/bin/env python3
"""Tables of trainings as one command: every row with every seed, and a report with a plot.

    study.py configs/studies/table5_stride.yaml --output output/studies
    study.py configs/studies/*.yaml --output output/studies --processes 4   # rows that they share are trained once
    study.py STUDY.yaml --output DIR --processes 4 --num-gpus 2             # 8 GPUs: four trainings, two GPUs each
    study.py STUDY.yaml --output DIR --speed              # then speeds relative to the baseline; wants a quiet machine
    study.py STUDY.yaml --output DIR --list                 # what is done and what is left
    study.py STUDY.yaml --output DIR --prepare              # what the rows start from alone (data, weights)
    study.py STUDY.yaml --output DIR --row 3 [--seed 0]     # one row of the list alone, for a cluster
    study.py STUDY.yaml --output DIR --report               # the report of what is done so far

A study that was stopped goes on where it stopped when the same command is given again: finished rows are not run again,
a broken training goes on from its last checkpoint. Rows run on several machines that share DIR (or whose DIR/jobs are
copied into one) merge into one report: configs/studies/slurm.sh. Reports are in DIR/<name of the study file>.
"""

import argparse
from pathlib import Path

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from tabulate import tabulate

from stpn.data.builtin import register_all
from stpn.engine.devices import device_shares
from stpn.errors import InputError, PartialResult, run_script
from stpn.study.job import Job
from stpn.study.report import write_report
from stpn.study.schedule import run_tasks
from stpn.study.speed import measure_speeds, read_speeds, speed_notes
from stpn.study.study_file import read_study
from stpn.study.summary import summarise
from stpn.study.tasks import numbered_rows, prepare_tasks, row_tasks


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", metavar="STUDY.yaml")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="trainings beside each other (default 1)")
    parser.add_argument("--num-gpus", type=int, default=1, metavar="G",
                        help="of each training (default 1); N trainings beside each other have G GPUs each")
    parser.add_argument("--speed", action="store_true",
                        help="measure the rows' speeds relative to the baseline, in turn, before the report")
    parser.add_argument("--seed", type=int, metavar="S", help="with --row: one of the study's seeds; default all")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="print the rows and their state")
    what.add_argument("--prepare", action="store_true", help="make what the rows start from, and no row")
    what.add_argument("--row", type=int, metavar="N", help="run only row N of the list")
    what.add_argument("--report", action="store_true", help="run nothing, write the report")
    args = parser.parse_args(argv)
    for name in ("processes", "num_gpus"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(args, name)}; expected at least 1")
    if args.speed and (args.list or args.prepare or args.row is not None):
        raise InputError("--speed measures for the report; give it alone or with --report")
    if Path(args.output).exists() and not Path(args.output).is_dir():
        raise InputError(f"--output {args.output} is a file; expected a folder, or a name that is free")
    if args.seed is not None and args.row is None:
        raise InputError("--seed is for --row; the seeds of a whole study are in its file")
    return args


def run_all(tasks, studies, args):
    """Run tasks, those of studies on GPUs each with GPUs of their own. PartialResult where some failed."""
    titles = {task.key: task.title for task in tasks}
    on_gpu = any(Job(*pair, 0, args.output).config().MODEL.DEVICE.startswith("cuda") for pair in numbered_rows(studies))
    places = device_shares(args.processes, args.num_gpus) if on_gpu else [{}] * args.processes
    failed = run_tasks(tasks, places, say=lambda text: print(text, flush=True))
    if failed:
        first, why = next(iter(failed.items()))
        raise PartialResult(f"{len(failed)} of {len(tasks)} not done, the first is {titles[first]}: {why}; the same "
                            "command runs them again")


def run_row(studies, args):
    rows = numbered_rows(studies)
    if not 0 <= args.row < len(rows):
        raise InputError(f"--row {args.row}; there are the rows 0 to {len(rows) - 1} (--list)")
    study, row = rows[args.row]
    if args.seed is not None and args.seed not in study.seeds:
        raise InputError(f"--seed {args.seed}; the study's seeds are {', '.join(map(str, study.seeds))}")
    for seed in study.seeds if args.seed is None else [args.seed]:
        Job(study, row, seed, args.output).run(gpus=args.num_gpus)


def list_rows(studies, output):
    def state(study, row):
        done = sum(Job(study, row, seed, output).result() is not None for seed in study.seeds)
        return f"{done} of {len(study.seeds)} done"

    table = [[i, study.path.stem, row.name, f"weights of {row.weights_of}" if row.weights_of else "trains",
              state(study, row)] for i, (study, row) in enumerate(numbered_rows(studies))]
    print(tabulate(table, headers=["--row", "study", "row", "", "seeds"]))


def measure(studies, output):
    for study in studies:
        measure_speeds(study, Path(output) / study.path.stem)


def report(studies, output):
    for study in studies:
        folder = Path(output) / study.path.stem
        paths = write_report(summarise(study, output), folder, read_speeds(study, folder), speed_notes(study, folder))
        print(next(path for path in paths if path.suffix == ".md").read_text())
        print(f"files: {', '.join(map(str, paths))}")


def run_studies(studies, args):
    """All that is left; then the report, also of what is done where something failed."""
    failed = None
    try:
        run_all(prepare_tasks(studies, args.output), studies, args)
        run_all(row_tasks(studies, args.output, gpus=args.num_gpus), studies, args)
    except PartialResult as error:
        failed = error
    if args.speed and not failed:
        measure(studies, args.output)
    report(studies, args.output)
    if failed:
        raise failed


def main(argv=None):
    args = parse_arguments(argv)
    register_all()
    studies = [read_study(path) for path in args.studies]
    stems = [study.path.stem for study in studies]
    if len(set(stems)) < len(stems):
        raise InputError("two study files have one name, and reports are named after them; give them other --output")
    if args.list:
        list_rows(studies, args.output)
    elif args.row is not None:
        run_row(studies, args)
    elif args.prepare:
        run_all(prepare_tasks(studies, args.output), studies, args)
    elif args.report:
        if args.speed:
            measure(studies, args.output)
        report(studies, args.output)
    else:
        run_studies(studies, args)


if __name__ == "__main__":
    run_script(main)
