"""What a study file may say: keys, steps, and rows that fit each other. Faults are an InputError of one line."""

import difflib
import os
import shlex

from ..engine.config_file import PROJECT
from ..errors import InputError
from .controls import CONTROLS
from .plan import Step

_STEP_KEYS = ("makes", "needs", "run")


def read_step(entry, path):
    """An entry of prepare -> Step, with {datasets} filled in."""
    where = f"{path}, prepare {entry!r}"
    if not isinstance(entry, dict) or not entry.get("makes") or not entry.get("run"):
        raise InputError(f"{where}: expected makes (a file), run (a script with arguments) and, where it has to wait "
                         "for another step, needs")
    refuse_keys(entry, _STEP_KEYS, where)
    datasets = os.environ.get("DETECTRON2_DATASETS", "datasets")

    def filled(text):
        return str(text).replace("{datasets}", datasets)

    script, *arguments = shlex.split(entry["run"])
    if not (PROJECT / script).is_file():
        raise InputError(f"{where}: no script {script}; give one of the project, such as projects/STPN/train_net.py")
    return Step(filled(entry["makes"]), [filled(need) for need in entry.get("needs", [])],
                [script, *map(filled, arguments)])


def check_rows(rows, figure, path):
    """Names that are there, weights that are trained, numbers where a line is drawn."""
    names = [row.name for row in rows]
    for row in rows:
        where = f"{path}, row {row.name!r}"
        if [other.folder for other in rows].count(row.folder) > 1 or not row.folder:
            raise InputError(f"{where}: another row has this name, or one that differs in signs alone")
        if row.weights_of and row.weights_of not in names:
            raise InputError(f"{where}: weights_of names no row; {near(row.weights_of, names)}")
        if row.weights_of and next(r for r in rows if r.name == row.weights_of).weights_of:
            raise InputError(f"{where}: weights_of {row.weights_of!r}, which is not trained itself; name a row that is")
        if row.control and CONTROLS[row.control].apply and not row.weights_of:
            raise InputError(f"{where}: control {row.control!r} is for trained weights; add weights_of")
        if figure == "line" and not row.baseline and not row.control and not isinstance(row.x, (int, float)):
            raise InputError(f"{where}: x is {row.x!r}; expected a number, as figure is line")
        if row.baseline and [r.group for r in rows if r.baseline].count(row.group) > 1:
            raise InputError(f"{where}: another row of group {row.group!r} is the baseline, too")


def near(name, names):
    """-> "did you mean ...?" for an error."""
    return f"did you mean {(difflib.get_close_matches(name, names, n=1) or names)[0]!r}?"


def refuse_keys(found, known, where):
    """InputError for the first key that is not known."""
    for key in found:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise InputError(f"{where}: key {key!r} is not known; {hint}")
