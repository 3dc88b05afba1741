#!/usr/bin/env python3
"""Make docs/report/ anew: all studies of configs/studies on the toy set, and the pictures with the committed models.

    toy_report.py --work output/report --output docs/report --processes 2   # hours; what is done is not done again
    toy_report.py --pictures --studies-of DIR                               # train nothing, take DIR/<study>/ as it is

What the page says of a study or picture beyond its numbers is written by hand in OUTPUT/findings.yaml. The folder may
have 3 MB. Logs of the scripts that this one starts are in WORK/logs.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
from stpn.engine.config_file import load_config
from stpn.errors import InputError, PartialResult, run_script
from stpn.explain.examples import MOST
from stpn.explain.report_pictures import LOOKED_AT, compared, embedded, explained, prepared_sets
from stpn.study.page import picture_section, read_findings, study_section, write_page
from stpn.study.report import RESULTS
from stpn.study.study_file import read_study

ROOT = Path(__file__).resolve().parents[2]
VIDEOS, SEED = 50, 12  # of validation videos, as in configs/studies/base/toy.yaml
INTRO = f"""# What prompts do on the toy set

This page is made by one command, `python projects/STPN/toy_report.py`. It repeats the paper's ablations and figures
on generated videos: small (96x96 pixels and 32 frames, of trackers 160x160), with eight classes that differ only in
an inner pattern, which motion blur, defocus, low resolution, occlusion, darkness or deformation hide in about half of
the frames ("deteriorated"). The models have 1 to 3 million parameters. So a number here says whether something works,
and what it is made of; it says nothing about ImageNet VID. All numbers are of {VIDEOS} generated videos that no model
was trained on (seed {SEED}).

Every study is a file in `configs/studies`, run by `projects/STPN/study.py` on any data set. Plots: a point is a seed,
bars are standard deviations. Behind a plot lies the same as SVG."""
PICTURES = f"""## Pictures

With the committed models (`projects/STPN/weights`, seed 0). Which frames are shown is a rule: of the first {LOOKED_AT}
validation videos the first {MOST} in which STPN alone finds an object in a deteriorated frame, and the first {MOST} in
which the baseline alone does; of each video the first such frame. "Finds" means the right class and an overlap (IoU) of
at least 0.5 with the label; of a tracker's box, the overlap. So the pictures show what can happen, for better and for
worse; how often it does is in the tables."""


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default="output/report", metavar="DIR", help="for all that is not part of the page")
    parser.add_argument("--output", default="docs/report", metavar="DIR")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="trainings beside each other (default 1)")
    parser.add_argument("--pictures", action="store_true", help="run no study; those that are finished are in the page")
    parser.add_argument("--studies-of", metavar="DIR", help="take finished studies from here: DIR/<study>/results.json")
    return parser.parse_args(argv)


class Runner:
    """Runs scripts of this folder, each with a log of its own."""

    def __init__(self, work):
        self.work, self.datasets = Path(work).resolve(), Path(work).resolve() / "datasets"
        os.environ["DETECTRON2_DATASETS"] = str(self.datasets)
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # in models so small threads mostly wait for each other

    def __call__(self, script, *arguments, log=None):
        """log: name of its file; without one the script's output is shown. InputError where it fails."""
        command = [sys.executable, str(ROOT / "projects/STPN" / script), *map(str, arguments)]
        if log is None:
            return subprocess.run(command, cwd=ROOT).returncode
        path = self.work / "logs" / f"{log}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"{log} ...", flush=True)
        with open(path, "wb") as file:
            code = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT).returncode
        if code:
            said = path.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise InputError(f"{script} ended with {code}: {said[-1]}; all that it said is in {path}")
        return code


def run_studies(run, files, processes):
    """-> exit code of study.py."""
    return run("study.py", *files, "--output", run.work / "studies", "--processes", processes, "--speed")


def trained(file):
    """-> a sentence on the trainings of a study file."""
    study = read_study(file)
    solvers = [load_config(str(row.config), row.overrides).SOLVER for row in study.rows if not row.weights_of]
    lengths = sorted({(solver.MAX_ITER, solver.IMS_PER_BATCH) for solver in solvers})
    told = " or ".join(f"{iterations:,} iterations of {frames} frames" for iterations, frames in lengths)
    return (f"Trained: {told}, each row with the seeds {', '.join(map(str, study.seeds))}, from one common start for "
            f"each size of the encoder (`configs/studies/{Path(file).name}`).")


def study_parts(files, folder, findings):
    """-> (sections of the page, {file name: bytes})."""
    sections, contents, left = [], {}, []
    for file in files:
        if (folder / file.stem / RESULTS).is_file():
            text, more = study_section(folder / file.stem, file.stem, trained=trained(file),
                                       said=findings.get(file.stem, {}))
            sections.append(text)
            contents |= more
        else:
            left.append(file.name)
    return sections + ([f"Not run: {', '.join(left)}."] if left else []), contents


def picture_parts(run, findings):
    """-> (sections of the page, {file name: bytes})."""
    sets = prepared_sets(run, videos=VIDEOS, seed=SEED)
    pictures, examples = compared(run, sets)
    pictures = [*pictures, *explained(run, examples), embedded(run)]
    sections = [PICTURES, *(picture_section(picture, findings.get(picture.key, {})) for picture in pictures)]
    return sections, {name: content for picture in pictures for name, content in picture.files.items()}


def main(argv=None):
    args = parse_arguments(argv)
    if args.processes < 1:
        raise InputError(f"--processes {args.processes}; expected at least 1")
    files = sorted((ROOT / "configs/studies").glob("*.yaml"))
    findings, run = read_findings(args.output), Runner(args.work)
    known = run.work / "studies" if args.studies_of is None else Path(args.studies_of)
    code = 0 if args.pictures or args.studies_of else run_studies(run, files, args.processes)
    shown, drawn = picture_parts(run, findings)
    studies, contents = study_parts(files, known, findings)
    size = write_page(args.output, "\n\n".join([INTRO, *studies, *shown]) + "\n", {**contents, **drawn})
    print(f"{Path(args.output) / 'README.md'}: {len(contents) + len(drawn)} files, {size / 2**20:.2f} MB")
    if code:
        raise PartialResult(f"study.py ended with {code}; the page holds what is finished; the same command goes on")


if __name__ == "__main__":
    run_script(main)
