#!/usr/bin/env python3
"""A table of trainings as one command: every row with every seed, and a report with a plot.

    study.py configs/studies/table5_stride.yaml --output output/studies/stride
    study.py STUDY.yaml --output DIR --processes 4          # that many trainings beside each other
    study.py STUDY.yaml --output DIR --list                 # what is done and what is left
    study.py STUDY.yaml --output DIR --job 3                # one job of the list alone, for a cluster
    study.py STUDY.yaml --output DIR --report               # the report of what is done so far

Each job is one row with one seed. A study that was stopped goes on where it stopped when the same command is given
again: finished jobs are not run again, a broken training goes on from its last checkpoint. Jobs of several machines
that share DIR (or whose folders are copied into one) merge into one report.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from detectron2.utils.logger import setup_logger
from tabulate import tabulate

from stpn.data.builtin import register_all
from stpn.errors import InputError, PartialResult, run_script
from stpn.study.job import Job
from stpn.study.plan import read_study
from stpn.study.report import write_report
from stpn.study.speed import measure_speeds, read_speeds
from stpn.study.summary import summarise

POLL = 0.5  # seconds between looks at the processes


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", metavar="STUDY.yaml")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="jobs beside each other (default 1)")
    parser.add_argument("--speed", action="store_true",
                        help="measure the rows' speeds relative to the baseline, in turn; wants a quiet machine")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="print the jobs and their state")
    what.add_argument("--job", type=int, metavar="N", help="run only job N of the list")
    what.add_argument("--report", action="store_true", help="run nothing, write the report")
    return parser.parse_args(argv)


def all_jobs(study, output):
    """Those that train first: the others evaluate their weights."""
    rows = sorted(study.rows, key=lambda row: bool(row.weights_of))
    return [Job(study, row, seed, output) for row in rows for seed in study.seeds]


def run_all(args, jobs):
    """Run what is not done, each in a process of its own. -> numbers of the jobs that failed."""
    left = [number for number, job in enumerate(jobs) if job.result() is None]
    trained = [number for number in left if not jobs[number].row.weights_of]
    failed = []
    for numbers in (trained, [number for number in left if number not in trained]):
        failed += _run_beside(args, jobs, numbers)
    return failed


def _run_beside(args, jobs, numbers):
    waiting, running, failed = list(numbers), {}, []
    try:
        while waiting or running:
            while waiting and len(running) < args.processes:
                number = waiting.pop(0)
                running[number] = _start(args, jobs[number], number)
            time.sleep(POLL)
            for number, process in [pair for pair in running.items() if pair[1].poll() is not None]:
                del running[number]
                say = "done" if process.returncode == 0 else f"FAILED, see {jobs[number].folder / 'log.txt'}"
                print(f"job {number} ({name_of(jobs[number])}): {say}", flush=True)
                failed += [number] if process.returncode else []
    finally:
        for process in running.values():
            process.terminate()
    return failed


def _start(args, job, number):
    job.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, args.study, "--output", args.output, "--job", str(number)]
    with open(job.folder / "log.txt", "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def name_of(job):
    return f"{job.row.name}, seed {job.seed}"


def report(args, study):
    if args.speed:
        measure_speeds(study, args.output)
    speeds = read_speeds(args.output)
    paths = write_report(summarise(study, args.output), args.output, speeds)
    print(Path(paths[1]).read_text())
    print(f"files: {', '.join(map(str, paths))}")


def main(argv=None):
    args = parse_arguments(argv)
    if args.processes < 1:
        raise InputError(f"--processes {args.processes}; expected at least 1")
    register_all()
    study = read_study(args.study)
    jobs = all_jobs(study, args.output)
    if args.list:
        rows = [[i, job.row.name, job.seed, "done" if job.result() else "to do"] for i, job in enumerate(jobs)]
        print(tabulate(rows, headers=["job", "row", "seed", ""]))
        return
    if args.job is not None:
        if not 0 <= args.job < len(jobs):
            raise InputError(f"--job {args.job}; this study has the jobs 0 to {len(jobs) - 1} (--list)")
        for name in ("detectron2", "stpn"):
            setup_logger(name=name)
        jobs[args.job].run()
        return
    failed = [] if args.report else run_all(args, jobs)
    report(args, study)
    if failed:
        raise PartialResult(f"{len(failed)} jobs failed: {', '.join(name_of(jobs[i]) for i in failed)}; their folders "
                            "hold a log.txt each; the same command runs them again")


if __name__ == "__main__":
    run_script(main)
