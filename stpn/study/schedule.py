"""Processes beside each other, each started when those that it needs have ended well."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from ..engine.config_file import PROJECT
from ..errors import InputError

_POLL = 0.5  # seconds between looks at the processes
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


class Task(NamedTuple):
    """key: names it; title: said about it; needs: keys of tasks that come before; run: ("script.py",
    argument, ...), a script of the project; log: file for all that it prints; makes: file that must be there after it.
    """

    key: object
    title: str
    needs: tuple
    run: tuple
    log: Path
    makes: Path


def run_tasks(tasks, places, *, say=print):
    """Run tasks in order where they may, at most as many at a time as there are places: environments ({name: value}),
    of which each is one process's at a time. -> {key: why} of those that failed or were not begun since one that they
    need failed. Keys in needs that no task has are taken as done."""
    waiting, running, failed, free = list(tasks), {}, {}, list(places)
    try:
        while waiting or running:
            _give_up(waiting, failed, say)
            _begin(waiting, running, free)
            time.sleep(_POLL if running else 0)
            for task, (process, place) in [pair for pair in running.items() if pair[1][0].poll() is not None]:
                del running[task]
                free.append(place)
                if process.returncode or not task.makes.exists():
                    failed[task.key] = f"FAILED: {_last_line(task.log)} (all it said: {task.log})"
                say(f"{task.title}: {failed.get(task.key, 'done')}")
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.wait()
    return failed


def _last_line(log):
    said = log.read_text(errors="replace").strip().splitlines()
    return said[-1][:300] if said else "it said nothing"


def _give_up(waiting, failed, say):
    while task := next((task for task in waiting if any(need in failed for need in task.needs)), None):
        waiting.remove(task)
        failed[task.key] = "not begun, since what it starts from failed"
        say(f"{task.title}: {failed[task.key]}")


def _begin(waiting, running, free):
    open_keys = {task.key for task in (*waiting, *running)}
    for task in [task for task in waiting if not any(need in open_keys for need in task.needs)]:
        if not free:
            return
        waiting.remove(task)
        place = free.pop(0)
        running[task] = _start(task, place), place
    if waiting and not running:
        raise InputError(f"{waiting[0].title} waits for itself; look at needs in the study file")


def _start(task, place):
    task.log.parent.mkdir(parents=True, exist_ok=True)
    task.makes.parent.mkdir(parents=True, exist_ok=True)
    script, *arguments = task.run
    with open(task.log, "ab") as log:
        return subprocess.Popen([sys.executable, str(PROJECT / script), *arguments], stdout=log,
                                stderr=subprocess.STDOUT, env={**os.environ, **place}, preexec_fn=_die_with_parent)


def _die_with_parent():
    """In the new process, on Linux: end it when this one is killed. Else it would train on beside the process that the
    same command starts for the same folder when it is given again."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
