"""What a study consists of: rows, each a configuration with overrides, and what has to be made before them."""

from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    """A file that has to be there before the rows: like a rule of a Makefile.

    makes: its path; needs: paths of other steps; run: ["script.py", argument, ...], a script of the project."""

    makes: str
    needs: list
    run: list


class Row(NamedTuple):
    """config: Path; overrides: ["KEY", value, ...]; x: its place on the axis or None; weights_of: name of the row whose
    trained weights are evaluated, "" for one that is trained; control: a name in CONTROLS or ""; group: bars beside
    each other, and the baseline that it is compared with; series: bars of one colour."""

    name: str
    config: Path
    overrides: list
    x: float | None = None
    baseline: bool = False
    weights_of: str = ""
    control: str = ""
    group: str = ""
    series: str = ""


class Study(NamedTuple):
    """path: of the study file; metrics: ["task/figure", ...]; axis: what x means; steps: what is made first."""

    path: Path
    name: str
    rows: list
    seeds: list
    metrics: list
    figure: str
    axis: str
    steps: list

    def row(self, name):
        return next(row for row in self.rows if row.name == name)

    def baseline_of(self, row):
        """The row that speed and gain are relative to: the baseline of the row's group, or the only one; or None."""
        found = [other for other in self.rows if other.baseline]
        own = [other for other in found if other.group == row.group]
        return own[0] if own else found[0] if len(found) == 1 else None
