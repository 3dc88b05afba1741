"""How fast a study's rows are, each in turn with the baseline on the same videos."""

import itertools
import json
import platform
from pathlib import Path

import torch

from ..engine.trainer import Trainer
from ..errors import InputError, atomic_path
from .job import Job
from .timing import CONTROL, Arm, Group, interleave, make_timer, summary, warm_up

SPEEDS = "speed.json"
_VIDEOS = 1  # of the test set, in each measurement
_PAIRS = 10


def measure_speeds(study, output, *, pairs=_PAIRS):
    """Write SPEEDS into output: {row: summary of timing.py, "control": that of the baseline against itself}.

    Weights do not count, so nothing needs to be trained. Rows that are evaluated with a control are left out, those
    that SPEEDS has are not measured again. One thread and processor time on the CPU, events on a GPU. InputError
    without a baseline."""
    rows = _compared_rows(study)
    path, threads = Path(output) / SPEEDS, torch.get_num_threads()
    path.parent.mkdir(parents=True, exist_ok=True)
    found = _read(path)
    try:
        for row, base in rows:
            key = _key(study, row, base)
            if found.get(row.name, {}).get("settings") != key:
                measured = _compare(_arm(study, base, output), _arm(study, row, output), pairs)
                found[row.name] = {**measured, "settings": key}
                with atomic_path(path) as part:
                    part.write_text(json.dumps(found, indent=1))
    finally:
        torch.set_num_threads(threads)


def read_speeds(study, output):
    """-> {row: speed relative to its baseline}; empty where nothing was measured with these settings on this device."""
    return {name: one["ratio"] for name, one in _measured(study, output).items()}


def speed_notes(study, output):
    """-> lines on how far the speeds can be trusted."""
    controls = [one["control"] for one in _measured(study, output).values()]
    if not controls:
        return []
    return [f"Speeds: measured in turn with the baseline, which against itself gave {min(controls):.3f} to "
            f"{max(controls):.3f}: what differs by less cannot be told apart."]


def _measured(study, output):
    found = _read(Path(output) / SPEEDS)
    keys = {row.name: _key(study, row, base) for row, base in _compared_rows(study)} if found else {}
    return {name: found[name] for name, key in keys.items() if found.get(name, {}).get("settings") == key}


def _read(path):
    try:
        found = json.loads(path.read_text()) if path.is_file() else {}
        if all(isinstance(one, dict) for one in found.values()):
            return found
    except (ValueError, AttributeError):
        pass
    raise InputError(f"{path} does not hold speeds; delete it, and measure again with --speed")


def _compared_rows(study):
    """-> [(row, its baseline), ...]."""
    rows = [(row, study.baseline_of(row)) for row in study.rows if not row.baseline and not row.control]
    for row, base in rows:
        if base is None:
            raise InputError(f"{study.path}: row {row.name!r} of group {row.group!r} has no baseline to compare speeds "
                             "with; mark one with baseline: true")
    return rows


def _key(study, row, base):
    """What a measured speed depends on: the settings of both, and the device."""
    cfg = Job(study, row, study.seeds[0], "").config()
    device = torch.cuda.get_device_name() if cfg.MODEL.DEVICE.startswith("cuda") else platform.machine()
    return [*(Job(study, one, study.seeds[0], "").settings for one in (base, row)), cfg.MODEL.DEVICE, device]


def _compare(base, arm, pairs):
    device = arm.device
    timer = make_timer("wall" if device.startswith("cuda") else "cpu", device, 1)
    torch.set_num_threads(1)
    group = Group("model", base.arm, (arm.arm,))
    warm_up(group, 1)
    times = interleave(group, pairs=pairs, timer=timer)
    control = summary(times[CONTROL])
    return {**summary(times[arm.arm.name]), "control": control["ratio"]}


class _RowArm:
    """A row's model on the first videos of its test set."""

    def __init__(self, cfg, name):
        (dataset,) = cfg.DATASETS.TEST
        self.device = cfg.MODEL.DEVICE
        self._model = Trainer.build_model(cfg).eval()
        self._videos = list(itertools.islice(Trainer.build_test_loader(cfg, dataset), _VIDEOS))
        frames = sum(video["frames"].length for batch in self._videos for video in batch)
        self.arm = Arm(name, ((self._run, 1 / frames),))

    @torch.no_grad()
    def _run(self):
        for batch in self._videos:
            self._model(batch)


def _arm(study, row, output):
    return _RowArm(Job(study, row, study.seeds[0], output).config(), row.name)
