"""train_net.py in processes of their own: for runs that must die, or are of two processes.

A test file that is started as a script (see `start`) imports everything once and forks a process for each run. Faults
are put in by replacing functions there.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from detectron2.engine import defaults
from load_script import load_script

from stpn.errors import run_script

ROOT = Path(__file__).resolve().parents[1]
TWO = ("--num-gpus", "2", "--dist-url", "auto")


def load_train_net():
    return load_script(ROOT / "projects/STPN/train_net.py")


def start(file, jobs):
    """file: of the test, whose main part is run_jobs; jobs: see there -> ({name: exit code, or minus the signal that
    ended it}, what went to stderr)."""
    # Where there is a GPU, a forked process could not give it up again as a spawned one does.
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1",
                   "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, file, json.dumps(jobs)], env=environment, capture_output=True, text=True,
                          timeout=500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def run_jobs(jobs, faults):
    """jobs: {name: {"argv": [...], "faults": {name: arguments}}}, run one after the other; faults: {name: function that
    takes a function like setattr, and arguments}. Prints {name: exit code}."""
    torch.set_num_threads(1)
    defaults.collect_env_info = lambda: "(skipped: it takes a second)"
    script, codes = load_train_net(), {}
    # The launched processes inherit the fault, and do not import everything again.
    processes = torch.multiprocessing.start_processes
    torch.multiprocessing.start_processes = functools.partial(processes, start_method="fork")
    for name, job in jobs.items():
        sys.stdout.flush()
        child = os.fork()
        if not child:
            for fault, arguments in job.get("faults", {}).items():
                faults[fault](setattr, **arguments)
            run_script(lambda job=job: script.main(job["argv"]))
        codes[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps(codes))
