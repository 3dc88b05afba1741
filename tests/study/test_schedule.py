"""Processes beside each other: never before what they need, never more than allowed, and no failure is lost."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stpn.errors import InputError
from stpn.study import schedule
from stpn.study.schedule import Task, run_tasks

ROOT = Path(__file__).resolve().parents[2]

# Leaves when it began and ended; "fail" as its last argument makes it fail after that, "nothing" makes it leave
# nothing, a number makes it wait until as many run beside it.
SCRIPT = """
import json, os, pathlib, sys, time
begun = time.monotonic()
pathlib.Path(sys.argv[1] + ".begun").touch()
while sys.argv[2].isdigit() and len(list(pathlib.Path(sys.argv[1]).parent.glob("*.begun"))) < int(sys.argv[2]):
    assert time.monotonic() < begun + 60
    time.sleep(0.02)
if sys.argv[2] != "nothing":
    json.dump([begun, time.monotonic(), os.environ["PLACE"]], open(sys.argv[1], "w"))
print("worked")
sys.exit(sys.argv[2] == "fail")
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(processes, name=(needs, how), ...) -> (failed, {name: (begun, ended, place)}, what was said)."""
    monkeypatch.setattr(schedule, "_POLL", 0.01)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def run_these(processes, **tasks):
        said = []
        made = [Task(name, name, needs, (str(script), str(tmp_path / name), how), tmp_path / "log" / name,
                     tmp_path / name) for name, (needs, how) in tasks.items()]
        failed = run_tasks(made, [{"PLACE": str(i)} for i in range(processes)], say=said.append)
        times = {name: json.loads((tmp_path / name).read_text()) for name in tasks if (tmp_path / name).exists()}
        return failed, times, said

    return run_these


@pytest.mark.parametrize("processes", [1, 3])
def test_nothing_begins_before_what_it_needs_and_no_more_run_than_allowed(run, processes):
    needs = {"last": ("b", "c"), "b": ("a",), "c": ("gone before",), "a": (), "d": ()}
    failed, times, said = run(processes, **{name: (need, "well") for name, need in needs.items()})
    assert failed == {} and set(times) == set(needs) and sorted(said) == sorted(f"{name}: done" for name in needs)
    for name, need in needs.items():
        assert all(times[name][0] >= times[other][1] for other in need if other in times)
    places = {place for _, _, place in times.values()}
    for place in places:  # at any time one alone is in it
        spans = sorted((begun, ended) for begun, ended, at in times.values() if at == place)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    assert places <= set(map(str, range(processes)))


def test_as_many_run_beside_each_other_as_allowed(run):
    failed, times, _ = run(3, a=((), "3"), b=((), "3"), c=((), "3"))
    assert failed == {} and sorted(place for _, _, place in times.values()) == ["0", "1", "2"]


@pytest.mark.parametrize("how", ["fail", "nothing"])
def test_a_failure_stops_what_needs_it_and_nothing_else(run, how, tmp_path):
    failed, times, said = run(2, a=((), how), b=(("a",), "well"), c=(("b",), "well"), d=((), "well"))
    assert set(failed) == {"a", "b", "c"} and "d" in times and "b" not in times
    assert failed["a"].startswith("FAILED: worked (all it said:") and "not begun" in failed["c"]
    assert len(said) == 4 and (tmp_path / "log" / "a").read_text() == "worked\n"


def test_tasks_that_wait_for_each_other_are_told(run):
    with pytest.raises(InputError, match="waits for itself"):
        run(1, a=(("b",), "well"), b=(("a",), "well"))


def test_nothing_goes_on_after_the_one_that_started_it_was_killed(tmp_path):
    """Else the same command, given again, would train in a folder where a process trains already."""
    script, main = tmp_path / "script.py", tmp_path / "main.py"
    script.write_text("import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()));"
                      "time.sleep(60)")
    main.write_text(f"""
from pathlib import Path
from stpn.study.schedule import Task, run_tasks
run = ({str(script)!r}, {str(tmp_path / "pid")!r})
run_tasks([Task("a", "a", (), run, Path({str(tmp_path / "log")!r}), Path("/"))], [{{}}])
""")
    process = subprocess.Popen([sys.executable, str(main)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    child = int((tmp_path / "pid").read_text())
    process.kill()
    process.wait()
    wait_for(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2])


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
