"""bootstrap.py without its downloads: every command goes to a recorder, which can fail or be interrupted."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
VERSION = (3, 11, 7)


def load_bootstrap():
    spec = importlib.util.spec_from_file_location("stpn_bootstrap", ROOT / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bootstrap = load_bootstrap()


class Recorder:
    """Stands in for run_logged: keeps the commands, makes the files that the real ones would make.

    act: called with each command's text; it may raise, or return an exit code.
    """

    def __init__(self, act=lambda text: 0):
        self.commands, self.act = [], act

    def __call__(self, command, cwd, env, log, inherit):
        assert isinstance(command, list) and all(isinstance(word, str) for word in command), "no shell"
        self.commands.append(command)
        text = " ".join(command)
        Path(log).touch()
        code = self.act(text)
        if "-m venv" in text or " venv " in text:
            self.make_venv(Path(command[-1]))
        if "--target" in command:
            self.unpack_wheel(Path(command[command.index("--target") + 1]))
        if command[-1] == bootstrap.IMPORT_DETECTRON2 and not code:
            code = 0 if list(Path(cwd).glob(".venv/lib/python*/site-packages/detectron2/__init__.py")) else 1
        return code

    @staticmethod
    def make_venv(folder):
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin" / "python").touch()
        (folder / "lib" / "python3.11" / "site-packages" / "pip").mkdir(parents=True, exist_ok=True)

    @staticmethod
    def unpack_wheel(folder):
        for name in ("detectron2/__init__.py", "detectron2/_C.cpython-310-x86_64-linux-gnu.so", "tools/x.py"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        (folder / "sal_detectron2-0.7.2.dist-info").mkdir()
        (folder / "sal_detectron2-0.7.2.dist-info" / "INSTALLER").touch()
        record = "detectron2/__init__.py,,\ndetectron2/_C.cpython-310-x86_64-linux-gnu.so,,\ntools/x.py,,\n"
        (folder / "sal_detectron2-0.7.2.dist-info" / "RECORD").write_text(record)

    def texts(self, word):
        return [" ".join(command) for command in self.commands if word in " ".join(command)]


@pytest.fixture(params=["plain", "with a space"])
def checkout(tmp_path, request):
    root = tmp_path / request.param
    root.mkdir()
    for name in ("setup.py", "pyproject.toml"):
        (root / name).write_text(name)
    hashed = " \\\n    --hash=sha256:00\n"
    names = ("absl-py==1", "nvidia-cublas==1", "opencv-python-headless==1", "setuptools==1", "torch==1")
    (root / "requirements.lock").write_text("# a comment\n" + "".join(name + hashed for name in names))
    (root / "detectron2.lock").write_text("sal-detectron2==0.7.2" + hashed)
    return root


def setup_of(root, run, **changes):
    return bootstrap.Setup(root, **{"run": run, "version": VERSION, "environ": {"PATH": "/bin"}, **changes})


def purelib(root):
    return root / ".venv" / "lib" / "python3.11" / "site-packages"


def parts_installed(run, root):
    """How many parts of requirements.lock were given to pip."""
    return len(run.texts(str(root / ".venv" / "tmp" / "part.lock")))


# What is missing is said in one line.


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 15, 0), (2, 7, 18)])
def test_unsupported_python_is_named_in_one_line(version):
    message = bootstrap.missing_python(version, which=lambda name: None)
    assert "3.10 to 3.14" in message and ".".join(map(str, version)) in message and "\n" not in message


@pytest.mark.parametrize("minor", range(10, 15))
def test_supported_python_is_accepted(minor):
    assert bootstrap.missing_python((3, minor, 0)) is None


def test_a_supported_python_on_path_is_suggested():
    message = bootstrap.missing_python((3, 8, 1), which=lambda name: name == "python3.12")
    assert message.endswith("run: python3.12 bootstrap.py")


def test_old_python_can_parse_the_file():
    ast.parse((ROOT / "bootstrap.py").read_text(), feature_version=(3, 7))


def test_missing_venv_module_names_the_package_to_install():
    message = bootstrap.missing_modules(VERSION, find=lambda name: None if name == "ensurepip" else name)
    assert "ensurepip" in message and "python3.11-venv" in message and "\n" not in message
    assert bootstrap.missing_modules(VERSION, find=lambda name: name) is None


def test_little_disk_is_refused_but_an_unfinished_venv_counts():
    assert "8 GB" in bootstrap.missing_space(free=7.9e9, held=0)
    assert bootstrap.missing_space(free=3e9, held=5.1e9) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("missing_python", "python is too old"),
        ("missing_modules", "no module"),
        ("missing_space", "little disk"),
    ],
)
def test_what_is_missing_ends_with_code_2_before_anything_is_written(
    checkout, monkeypatch, capsys, name, value
):
    monkeypatch.setattr(bootstrap, name, lambda *_: value)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    monkeypatch.setattr(bootstrap.signal, "signal", lambda *_: None)
    monkeypatch.setattr(bootstrap, "__file__", str(checkout / "bootstrap.py"))
    (checkout / "bootstrap.py").touch()
    assert bootstrap.main(["test"]) == 2
    assert capsys.readouterr().err == f"bootstrap.py: {value}\n"
    assert not (checkout / ".venv").exists()


def test_unknown_command_is_refused_in_one_line(capsys):
    assert bootstrap.main(["tests"]) == 2
    assert "demo, test or nothing" in capsys.readouterr().err


# The set-up and its stamp.


def test_set_up_does_all_steps_and_a_second_run_does_nothing(checkout):
    run = Recorder()
    setup_of(checkout, run)()
    assert list(json.loads((checkout / ".venv" / "bootstrap.json").read_text())["steps"]) == list(
        bootstrap.STEPS
    )
    again = Recorder()
    second = setup_of(checkout, again)
    assert second.ready()
    second()
    assert again.commands == []


@pytest.mark.parametrize("name", ["requirements.lock", "detectron2.lock", "setup.py", "pyproject.toml"])
def test_a_changed_list_makes_the_stamp_stale(checkout, name):
    setup_of(checkout, Recorder())()
    with open(checkout / name, "a") as file:
        file.write("\n# changed\n")
    run = Recorder()
    setup = setup_of(checkout, run)
    assert not setup.ready()
    setup()
    assert bool(parts_installed(run, checkout)) == (name == "requirements.lock")
    assert run.texts("--no-index") if name.endswith(("py", "toml")) else not run.texts("--no-index")
    assert run.commands[-1][-1] == bootstrap.SELF_CHECK


def test_another_python_or_folder_gets_a_new_venv(checkout, tmp_path):
    setup_of(checkout, Recorder())()
    assert not setup_of(checkout, Recorder(), version=(3, 12, 0)).ready()
    moved = checkout.rename(tmp_path / "moved")
    (moved / ".venv" / "old").touch()
    run = Recorder()
    setup_of(moved, run)()
    assert run.texts("-m venv") and not (moved / ".venv" / "old").exists()


@pytest.mark.parametrize("stop", ["-m venv", "part.lock", "--target", "--no-index", "stpn.config"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, None], ids=["interrupted", "failed"])
def test_an_interrupted_run_resumes_at_the_step_that_was_cut(checkout, stop, error):
    def act(text):
        if stop not in text:
            return 0
        if error:
            raise error
        return 1

    with pytest.raises(error or bootstrap.StepFailed):
        setup_of(checkout, Recorder(act))()
    finished = json.loads((checkout / ".venv" / "bootstrap.json").read_text())["steps"]
    run = Recorder()
    setup = setup_of(checkout, run)
    assert not setup.ready()
    setup()
    assert setup.ready()
    assert bool(run.texts("-m venv")) == ("venv" not in finished)
    assert bool(parts_installed(run, checkout)) == ("packages" not in finished)
    assert (purelib(checkout) / "detectron2" / "__init__.py").exists()


def test_half_installed_distributions_are_installed_again(checkout):
    Recorder.make_venv(checkout / ".venv")
    whole, half = purelib(checkout) / "a-1.dist-info", purelib(checkout) / "b-1.dist-info"
    for info in (whole, half):
        info.mkdir()
        (info / "METADATA").touch()
    (whole / "INSTALLER").touch()
    (purelib(checkout) / "~orch").mkdir()
    bootstrap.drop_half_installed(str(purelib(checkout)))
    assert sorted(path.name for path in purelib(checkout).iterdir()) == ["a-1.dist-info", "pip"]


def test_a_venv_of_somebody_else_is_refused_and_left_alone(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "mine").touch()
    with pytest.raises(bootstrap.Missing, match="move it away"):
        setup_of(checkout, Recorder())()
    assert [path.name for path in (checkout / ".venv").iterdir()] == ["mine"]


def test_a_failed_step_names_its_log_and_shows_the_end_of_it(checkout, capsys):
    def act(text):
        if "part.lock" in text:
            Path(checkout / ".venv" / "bootstrap.log").write_text(
                "WARNING: Location x is ignored\nno such wheel\n"
            )
            return 1
        return 0

    with pytest.raises(bootstrap.StepFailed, match="bootstrap.log"):
        setup_of(checkout, Recorder(act))()
    printed = capsys.readouterr().out
    assert "| no such wheel" in printed and "Location" not in printed


# The commands.


def test_everything_downloaded_is_hash_checked_and_stpn_needs_no_network(checkout):
    run = Recorder()
    setup_of(checkout, run)()
    installs = [command for command in run.commands if "install" in command]
    assert all("--require-hashes" in command for command in installs[:-1])
    assert "--no-index" in installs[-1] and installs[-1][-2:] == ["-e", "."]
    assert parts_installed(run, checkout) == 4  # setuptools, nvidia-cublas, torch, the rest


def test_uv_is_used_where_it_is(checkout):
    run = Recorder()
    setup_of(checkout, run, uv="/opt/bin/uv")()
    installs = [command for command in run.commands if "install" in command or "venv" in command]
    assert all(command[0] == "/opt/bin/uv" for command in installs)
    assert not (checkout / ".venv" / "cache").exists()


def test_large_packages_come_alone_and_setuptools_first(checkout):
    entries = bootstrap.read_lock(checkout / "requirements.lock")
    assert [name for name, _ in entries] == [
        "absl-py",
        "nvidia-cublas",
        "opencv-python-headless",
        "setuptools",
        "torch",
    ]
    titles = [title for title, _ in bootstrap.parts_of(entries)]
    assert titles == ["setuptools", "nvidia-cublas", "torch", "the other packages"]


def test_opencv_python_that_is_there_is_kept(checkout):
    seen = []

    def act(text):
        if "part.lock" in text:
            seen.append((checkout / ".venv" / "tmp" / "part.lock").read_text())
        return 0

    run = Recorder(act)
    Recorder.make_venv(checkout / ".venv")
    setup = setup_of(checkout, run)
    setup.write_stamp(True, {})
    (purelib(checkout) / "opencv_python-4.12.dist-info").mkdir()
    (purelib(checkout) / "opencv_python-4.12.dist-info" / "INSTALLER").touch()
    setup()
    assert "opencv-python-headless" not in "".join(seen) and "absl-py" in "".join(seen)


def test_children_write_inside_the_checkout_only(checkout):
    harmful = {
        "PIP_TARGET": "/elsewhere",
        "PYTHONPATH": "/elsewhere",
        "PIP_USER": "1",
        "PIP_INDEX_URL": "kept",
    }
    env = setup_of(checkout, Recorder(), environ={**harmful, "PATH": "/bin"}).env
    assert "/elsewhere" not in env.values() and env["PIP_USER"] == "0" and env["PIP_INDEX_URL"] == "kept"
    for name in ("UV_CACHE_DIR", "XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCH_HOME"):
        assert Path(env[name]).is_relative_to(checkout / ".venv")


def test_tmpdir_stays_short_enough_for_sockets(tmp_path):
    assert "TMPDIR" not in setup_of(tmp_path / ("long" * 20), Recorder()).env
    assert setup_of("/x y", Recorder()).env["TMPDIR"] == "/x y/.venv/tmp"


def test_tasks_pass_the_users_arguments_through(checkout):
    setup = setup_of(checkout, Recorder())
    command, env = bootstrap.task(setup, "test", ["-k", "a b"])
    assert command == [setup.python, "-m", "pytest", "-n", "2", "-k", "a b"] and env["OMP_NUM_THREADS"] == "1"
    command, _ = bootstrap.task(setup, "demo", ["--seed", "1"])
    assert command[1].endswith("toy_demo.py") and command[2:] == ["--output", "output/demo", "--seed", "1"]


def test_a_tasks_exit_code_is_ours(tmp_path):
    program = (
        "import importlib.util as u, sys; s = u.spec_from_file_location('b', sys.argv[1]);"
        "b = u.module_from_spec(s); s.loader.exec_module(b);"
        "b.hand_over([sys.executable, '-c', 'raise SystemExit(7)'], sys.argv[2], {})"
    )
    command = [sys.executable, "-c", program, str(ROOT / "bootstrap.py"), str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 7


# detectron2 from the wheel.


def test_wheel_loses_its_extension_and_tools_and_others_keep_theirs(checkout):
    Recorder.make_venv(checkout / ".venv")
    (purelib(checkout) / "tools").mkdir()
    (purelib(checkout) / "tools" / "of_somebody_else.py").touch()
    setup = setup_of(checkout, Recorder())
    setup.write_stamp(True, {})
    setup()
    assert [path.name for path in (purelib(checkout) / "tools").iterdir()] == ["of_somebody_else.py"]
    assert not list(purelib(checkout).glob("detectron2/_C*"))
    record = purelib(checkout) / "sal_detectron2-0.7.2.dist-info" / "RECORD"
    assert record.read_text() == "detectron2/__init__.py,,\n"


def test_an_importable_detectron2_is_kept(checkout):
    Recorder.make_venv(checkout / ".venv")
    (purelib(checkout) / "detectron2").mkdir()
    (purelib(checkout) / "detectron2" / "__init__.py").write_text("mine = True")
    run = Recorder()
    setup = setup_of(checkout, run)
    setup.write_stamp(True, {})
    setup()
    assert not run.texts("--target")
    assert (purelib(checkout) / "detectron2" / "__init__.py").read_text() == "mine = True"


def test_a_broken_detectron2_of_the_user_is_not_overwritten(checkout):
    Recorder.make_venv(checkout / ".venv")
    (purelib(checkout) / "detectron2-0.6.dist-info").mkdir()
    (purelib(checkout) / "detectron2-0.6.dist-info" / "INSTALLER").touch()
    setup = setup_of(checkout, Recorder())
    setup.write_stamp(True, {})
    with pytest.raises(bootstrap.StepFailed, match="repair or uninstall"):
        setup()


@pytest.mark.skipif(os.name != "posix", reason="the wrappers are shell scripts")
def test_scripts_start_from_a_folder_with_a_space(checkout):
    setup = setup_of(checkout, Recorder())
    setup()
    python = checkout / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nfor word in "$@"; do echo "<$word>"; done\n')
    python.chmod(0o755)
    command = [checkout / ".venv" / "bin" / "demo.py", "--input", "my clip.mp4"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed == f"<{checkout}/projects/STPN/demo.py>\n<--input>\n<my clip.mp4>\n"


# The lists themselves.


@pytest.mark.parametrize("name", ["requirements.lock", "detectron2.lock"])
def test_every_locked_requirement_is_exact_and_hashed_and_names_no_server(name):
    for requirement, text in bootstrap.read_lock(ROOT / name):
        assert re.match(r"[A-Za-z0-9._-]+==\S+", text), requirement
        assert "--hash=sha256:" in text, requirement
    assert not re.search(
        r"://|--index|--find|--extra", (ROOT / name).read_text().partition("\nabsl")[2]
    )


def test_every_requirement_is_locked_at_a_version_that_was_asked_for():
    locked = {name for name, _ in bootstrap.read_lock(ROOT / "requirements.lock")}
    text = (ROOT / "requirements.lock").read_text()
    wanted = [line.split("#")[0].strip() for line in (ROOT / "requirements.in").read_text().splitlines()]
    assert {re.match(r"[a-z0-9-]+", line).group() for line in wanted if line} <= locked
    assert "\ntorch==2.11.0 " in text and "\ntorchvision==0.26.0 " in text
    assert int(re.search(r"\nsetuptools==(\d+)", text).group(1)) < 82
