"""What is left to do of some studies, as processes that schedule.py can run."""

import re
from pathlib import Path

from ..errors import InputError
from .job import RESULT, Job
from .schedule import Task

_SCRIPT = "projects/STPN/study.py"


def numbered_rows(studies):
    """-> [(study, row), ...] in the order of --list: those that train first, the others evaluate their weights."""
    rows = [(study, row) for study in studies for row in study.rows]
    return sorted(rows, key=lambda pair: bool(pair[1].weights_of))


def prepare_tasks(studies, output):
    """-> tasks for what is not there yet. InputError where studies would make one file in two ways."""
    steps = {}
    for study in studies:
        for step in study.steps:
            if steps.setdefault(step.makes, step) != step:
                raise InputError(f"{study.path}: {step.makes} is made in another way than in a study before it")
    left = [step for step in steps.values() if not Path(step.makes).exists()]
    return [Task(step.makes, step.makes, tuple(step.needs), tuple(step.run), Path(output) / "prepare" / _log_name(step),
                 Path(step.makes)) for step in left]


def _log_name(step):
    return re.sub(r"[^\w.]+", "_", step.makes).strip("_") + ".log"


def row_tasks(studies, output, *, gpus=1):
    """-> a task for each row and seed that is not done; rows that studies share once. gpus: of each task."""
    tasks = {}
    for study, row in numbered_rows(studies):
        number = numbered_rows([study]).index((study, row))
        for seed in study.seeds:
            job = Job(study, row, seed, output)
            if job.result() is None and job.folder not in tasks:
                needs = () if job.trained_by is job else (job.trained_by.folder,)
                run = (_SCRIPT, str(study.path), "--output", str(output), "--row", str(number),
                       "--seed", str(seed), "--num-gpus", str(gpus))
                tasks[job.folder] = Task(job.folder, f"{study.path.stem}: {row.name}, seed {seed}", needs, run,
                                         job.folder / "log.txt", job.folder / RESULT)
    return list(tasks.values())
