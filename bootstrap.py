#!/usr/bin/env python3
"""Sets this checkout up in .venv, then runs the demo or the tests.

    python3 bootstrap.py                     set up only
    python3 bootstrap.py demo [arguments]    set up, then projects/STPN/toy_demo.py
    python3 bootstrap.py test [arguments]    set up, then pytest (for example: test -k prompting)

What is done once is skipped the next time, and an interrupted run goes on where it stopped. Everything it
writes lies in the checkout: .venv (also its log, bootstrap.log) and output/.
Exit codes: 1 a step failed, 2 something is missing here, 130 interrupted, otherwise those of demo and test.

Standard library alone, and no syntax newer than Python 3.6: an old Python gets a sentence, not a SyntaxError.
"""

import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import xml.sax.saxutils

VERSION = 1  # raise it to have every .venv made by an older bootstrap.py built anew
OLDEST, NEWEST = (3, 10), (3, 14)
DISK_BYTES = 8 * 10**9  # .venv takes 5.5 GB on Linux, CUDA libraries 2.9 of them; the rest is for unpacking
# as in setup.py
SCRIPTS = tuple(f"projects/STPN/{name}.py" for name in ("train_net", "demo", "evaluate", "convert_weights"))
# Variables that would lead pip, uv or Python away from .venv.
REDIRECTS = """
PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_ROOT PIP_SRC PIP_LOG PIP_CONSTRAINT PIP_REQUIREMENT
PIP_REQUIRE_HASHES UV_TARGET UV_PREFIX UV_PYTHON UV_SYSTEM_PYTHON UV_PROJECT_ENVIRONMENT UV_CONSTRAINT
""".split()
# Where programs keep caches, instead of in the home folder.
HOME_CACHES = """
XDG_CACHE_HOME MPLCONFIGDIR FVCORE_CACHE TORCH_HOME TRITON_CACHE_DIR CUDA_CACHE_PATH TORCHINDUCTOR_CACHE_DIR
""".split()
# matplotlib asks the system for its fonts, which otherwise renews the system's own cache if root asks.
FONTS = (
    "<fontconfig><cachedir>%s</cachedir>"
    '<include ignore_missing="yes">/etc/fonts/fonts.conf</include></fontconfig>'
)

LISTS = ("requirements.lock", "detectron2.lock", "setup.py", "pyproject.toml")
STEPS = {
    "venv": "make_venv",
    "packages": "install_packages",
    "detectron2": "install_detectron2",
    "project": "install_project",
    "check": "self_check",
}
FOREIGN = ".venv is not from bootstrap.py and does not fit this Python or folder; move it away and try again"

IMPORT_DETECTRON2 = (
    "import detectron2.checkpoint, detectron2.config, detectron2.engine, detectron2.evaluation, "
    "detectron2.modeling, detectron2.utils.visualizer"
)
SELF_CHECK = """
import av, cv2, fvcore, hypothesis, iopath, numpy, pycocotools.mask, pytest, safetensors.torch, scipy.optimize
import sklearn.manifold, timm, torch, torch.utils.tensorboard, torchvision, xdist
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from stpn.config import add_stpn_config

class Clip:
    # Two frames of noise, in the protocol that model.stream reads.
    length = 2

    def select(self, indices):
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=generator)
        return ({"image": images[i], "height": 64, "width": 96, "frame": None} for i in indices)

    def __iter__(self):
        return self.select(range(2))

cfg = get_cfg()
add_stpn_config(cfg)
cfg.merge_from_file("configs/toy/stpn.yaml", allow_unsafe=False)
cfg.MODEL.DEVICE = "cpu"
model = build_model(cfg).eval()
with torch.no_grad():
    detections = [instances.pred_boxes for _, _, instances in model.stream(Clip())]
assert len(detections) == 2, f"2 frames went in, {len(detections)} came out"
"""


class Missing(Exception):
    """Something that this computer lacks, or has in the way; the message is one line. Exit code 2."""


class StepFailed(Exception):
    """A step of the set-up failed; the message is one line and names the log. Exit code 1."""


def say(text):
    print(text, flush=True)


def missing_python(version, which=shutil.which):
    """One line if `version` (major, minor, micro) is not supported, else None."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return None
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    found = [name for name in names if which(name)]
    remedy = f"run: {found[0]} bootstrap.py" if found else "install one and run bootstrap.py with it"
    got = ".".join(map(str, version[:3]))
    return f"needs Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}, but this is {got}; {remedy}"


def missing_modules(version, find=importlib.util.find_spec):
    """One line if this Python cannot make a .venv with pip in it (Debian splits that off), else None."""
    absent = " and ".join(name for name in ("venv", "ensurepip") if find(name) is None)
    if not absent:
        return None
    package = f"python{version[0]}.{version[1]}-venv"
    return f"this Python lacks its module {absent}; install it (Debian, Ubuntu: apt install {package}), or uv"


def missing_space(free, held):
    """One line if `free` bytes of disk and the `held` bytes of an unfinished .venv are too few, else None."""
    if free + held >= DISK_BYTES:
        return None
    return f"needs {DISK_BYTES / 1e9:.0f} GB of free disk in this folder, but there are {free / 1e9:.1f} GB"


def folder_bytes(folder):
    """Bytes on disk of the files under `folder`; a file with several links counts once, no folder is 0."""
    sizes = {}
    for path, _, names in os.walk(folder):
        for name in names:
            info = os.lstat(os.path.join(path, name))
            blocks = getattr(info, "st_blocks", info.st_size // 512 + 1)
            sizes[info.st_dev, info.st_ino or len(sizes)] = blocks * 512
    return sum(sizes.values())


def digest(texts, files=()):
    """Hex digest of texts and of the files' contents; an absent file counts as an empty one."""
    total = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape"))
    for path in files:
        content = b""
        if os.path.isfile(path):
            with open(path, "rb") as file:
                content = file.read()
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()


def read_lock(path):
    """[(name, text)] of a hash-locked list, one per requirement; text holds its lines, hashes included."""
    with open(path) as file:
        lines = [line for line in file if line.strip() and not line.startswith("#")]
    entries = []
    for line in lines:
        if line[0].isspace():
            entries[-1] = (entries[-1][0], entries[-1][1] + line)
        else:
            entries.append((re.match(r"[A-Za-z0-9._-]+", line).group().lower().replace("_", "-"), line))
    return entries


def parts_of(entries):
    """[(title, [text])]: setuptools, which builds others; each large package for itself; then all the rest.

    pip installs nothing before all of a call is downloaded. A large package in a call of its own is kept when
    a later one is interrupted, and the wheels (up to 0.5 GB each) do not lie on the disk together.
    """
    groups = []
    for name, text in entries:
        alone = name in ("setuptools", "torch", "triton") or name.startswith("nvidia-")
        title = name if alone else "the other packages"
        if title not in [known for known, _ in groups]:
            groups.append((title, []))
        dict(groups)[title].append(text)
    order = {"setuptools": -1, "the other packages": 1}
    return sorted(groups, key=lambda group: order.get(group[0], 0))


def drop_half_installed(purelib):
    """Removes the records of distributions whose installation was cut short, so that it is done again.

    pip and uv write INSTALLER after a distribution's files, but take one with METADATA alone for installed.
    `~name` is what pip leaves of a distribution that it was just replacing.
    """
    for name in os.listdir(purelib) if os.path.isdir(purelib) else ():
        path = os.path.join(purelib, name)
        half = name.endswith(".dist-info") and not os.path.isfile(os.path.join(path, "INSTALLER"))
        if half or name.startswith("~"):
            remove(path)


def strip_wheel(folder):
    """Takes out of an unpacked sal-detectron2 what must not be used: its C extension and `tools`.

    The extension is for Python 3.10 and another torch. `tools` is a top-level package by mistake and would
    overwrite, or hide, any other package of that name.
    """
    remove(os.path.join(folder, "tools"))
    package = os.path.join(folder, "detectron2")
    for name in os.listdir(package):
        if name.startswith("_C.") and name.endswith((".so", ".pyd")):
            remove(os.path.join(package, name))
    for info in (name for name in os.listdir(folder) if name.endswith(".dist-info")):
        record = os.path.join(folder, info, "RECORD")  # a later uninstall must not look for them either
        with open(record) as file:
            kept = [line for line in file if not line.startswith(("tools/", "detectron2/_C."))]
        with open(record, "w") as file:
            file.writelines(kept)


def remove(path):
    """Removes a file, a link or a folder with all in it; an absent one is fine."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def run_logged(command, cwd, env, log, inherit=()):
    """Runs `command` (a list; no shell) with its output appended to the file `log`; returns its exit code."""
    with open(log, "ab") as out:
        line = " ".join(map(shlex.quote, command))
        out.write(f"$ {line}\n".encode("utf-8", "surrogateescape"))
        out.flush()
        streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": subprocess.STDOUT}
        return subprocess.run(command, check=False, cwd=cwd, env=env, pass_fds=inherit, **streams).returncode


class Setup:
    """The set-up of one checkout.

    root: the checkout's folder. run: like run_logged. uv: path of the uv program, or None for pip.
    version: of the Python that makes .venv. environ: the environment to start from (None: ours).
    inherit: file descriptors that child processes keep open (the lock, so that an orphaned child holds it).
    Finished steps stand in .venv/bootstrap.json, each with a digest of what it depends on; a step whose
    digest has not changed is skipped.
    """

    def __init__(self, root, run=run_logged, uv=None, version=sys.version_info, environ=None, inherit=()):
        self.root, self.run, self.uv, self.inherit = os.path.realpath(root), run, uv, inherit
        self.folder, self.minor = os.path.join(self.root, ".venv"), f"{version[0]}.{version[1]}"
        self.tmp, self.cache = os.path.join(self.folder, "tmp"), os.path.join(self.folder, "cache")
        self.log, self.stamp = (os.path.join(self.folder, "bootstrap" + end) for end in (".log", ".json"))
        scheme = "nt" if os.name == "nt" else "posix_prefix"
        places = {"base": self.folder, "platbase": self.folder, "py_version_short": self.minor}
        self.purelib, self.bin = (sysconfig.get_path(kind, scheme, places) for kind in ("purelib", "scripts"))
        self.python = os.path.join(self.bin, "python.exe" if os.name == "nt" else "python")
        self.env = self.environment(os.environ if environ is None else environ)

    def environment(self, environ):
        """Environment of all child processes: it keeps caches and temporary files inside the checkout."""
        env = {name: value for name, value in environ.items() if name not in REDIRECTS}
        env.update(VIRTUAL_ENV=self.folder, PATH=self.bin + os.pathsep + env.get("PATH", os.defpath))
        env.update(PYTHONNOUSERSITE="1", PIP_USER="0", PIP_NO_CACHE_DIR="1", PIP_NO_INPUT="1")
        env.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_PROGRESS_BAR="off", UV_PYTHON_DOWNLOADS="never")
        for name in ("UV_CACHE_DIR", "UV_PYTHON_INSTALL_DIR"):
            env[name] = os.path.join(self.cache, name.lower())
        for name in HOME_CACHES:
            env[name] = os.path.join(self.folder, "home", name.lower())
        env["FONTCONFIG_FILE"] = os.path.join(self.folder, "fonts.conf")
        # Data loader workers open sockets in TMPDIR (31 characters more); a socket's path has at most 107.
        if len(os.fsencode(self.tmp)) <= 70:
            env["TMPDIR"] = self.tmp
        return env

    def digests(self):
        """{step: digest of what it depends on}, in the order of STEPS."""
        at = {name: os.path.join(self.root, name) for name in LISTS}
        venv = digest([str(VERSION), self.minor, self.folder])
        packages = digest([venv], [at["requirements.lock"]])
        detectron2 = digest([packages], [at["detectron2.lock"]])
        project = digest([venv], [at["setup.py"], at["pyproject.toml"]])
        check = digest([detectron2, project])
        return {
            "venv": venv,
            "packages": packages,
            "detectron2": detectron2,
            "project": project,
            "check": check,
        }

    def read_stamp(self):
        """What .venv/bootstrap.json says: {"ours": we made .venv, "steps": {step: digest}}, or {}."""
        try:
            with open(self.stamp) as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}

    def write_stamp(self, ours, steps):
        with open(self.stamp + ".tmp", "w") as file:
            json.dump({"ours": ours, "steps": steps}, file, indent=1)
        os.replace(self.stamp + ".tmp", self.stamp)

    def ready(self):
        """True if every step is done for the lists, the Python and the folder as they are now."""
        return self.read_stamp().get("steps") == self.digests() and os.path.isfile(self.python)

    def __call__(self):
        """Does the steps that are not done yet, in order."""
        start, wanted = time.time(), self.digests()
        stamp = self.claim(wanted["venv"])
        for name in os.listdir(self.tmp) if os.path.isdir(self.tmp) else ():
            if name.startswith("pip-"):  # wheels that a killed pip was unpacking
                remove(os.path.join(self.tmp, name))
        done = {step: old for step, old in stamp["steps"].items() if old == wanted.get(step)}
        for number, (step, method) in enumerate(STEPS.items(), 1):
            if step in done:
                continue
            action = getattr(self, method)
            say(f"[{number}/{len(STEPS)}] {action.__doc__}")
            os.makedirs(self.tmp, exist_ok=True)
            if stamp["ours"]:
                drop_half_installed(self.purelib)
            action()
            done[step] = wanted[step]
            if len(done) == len(STEPS):
                remove(self.cache)
            self.write_stamp(stamp["ours"], done)
        size = folder_bytes(self.folder) / 1e9
        say(f"set up in {time.time() - start:.0f} s; .venv takes {size:.1f} GB")

    def claim(self, wanted):
        """Sees to it that .venv is a folder with a stamp; returns the stamp. wanted: digest of the step venv.

        The folder is new, or ours (finished or not), or one that the user made, which is kept.
        """
        stamp, old = self.read_stamp(), self.folder + ".old"
        remove(old)
        if stamp and stamp["steps"].get("venv", wanted) != wanted:
            if not stamp["ours"]:
                raise Missing(FOREIGN)
            say(".venv belongs to another Python, folder or version of bootstrap.py and is made anew")
            os.replace(self.folder, old)  # so that an interrupted removal leaves no .venv without its stamp
            remove(old)
            stamp = {}
        if not stamp:
            ours = not os.path.isdir(self.folder) or not set(os.listdir(self.folder)) - {
                "fonts.conf",
                "bootstrap.json.tmp",
            }
            if not ours:
                self.check_foreign()
            os.makedirs(self.folder, exist_ok=True)
            with open(self.env["FONTCONFIG_FILE"], "w") as file:
                cache = xml.sax.saxutils.escape(os.path.join(self.folder, "home", "fontconfig"))
                file.write(FONTS % cache)
            self.write_stamp(ours, {} if ours else {"venv": wanted})
        return self.read_stamp()

    def check_foreign(self):
        """Raises Missing unless the .venv that the user made has this Python version."""
        code = f"import sys; sys.exit('%d.%d' % sys.version_info[:2] != '{self.minor}')"
        if not os.path.isfile(self.python) or subprocess.call([self.python, "-c", code]):
            raise Missing(FOREIGN)
        say("uses the .venv that is there")

    def do(self, command, what):
        """Runs a command in the checkout; if it fails, shows the end of its output and raises StepFailed."""
        code = self.run(command, self.root, self.env, self.log, self.inherit)
        if code:
            for line in tail(self.log):
                say("    | " + line)
            raise StepFailed(
                f"{what} failed (exit code {code}); see {self.log}; a further run goes on from here"
            )

    def install(self, arguments, what):
        """pip install (or uv pip install) into .venv."""
        tool = [self.python, "-m", "pip", "install", "--no-compile"]
        if self.uv:
            tool = [self.uv, "pip", "install", "--python", self.python]
        elif not os.path.isdir(os.path.join(self.purelib, "pip")):  # uv made this .venv, and is gone
            self.do([self.python, "-m", "ensurepip"], "getting pip")
        self.do(tool + arguments, what)

    def imports(self, code):
        """True if `code` runs in .venv; -I keeps the checkout and the user's folders off the import path."""
        return self.run([self.python, "-I", "-c", code], self.root, self.env, self.log, self.inherit) == 0

    # The steps, in the order of STEPS. The docstring is printed when the step begins.

    def make_venv(self):
        """makes the virtual environment .venv"""
        command = [sys.executable, "-m", "venv", self.folder]
        if self.uv:
            command = [self.uv, "venv", "--allow-existing", "--python", sys.executable, self.folder]
        self.do(command, "making .venv")

    def install_packages(self):
        """installs the packages of requirements.lock (downloads 1.8 GB, mostly torch and CUDA libraries)"""
        entries = read_lock(os.path.join(self.root, "requirements.lock"))
        if any(name.startswith("opencv_python-") for name in os.listdir(self.purelib)):
            entries = [entry for entry in entries if entry[0] != "opencv-python-headless"]  # both provide cv2
        parts = parts_of(entries)
        if self.uv:  # it keeps its downloads, so that one call can go on where it stopped
            parts = [parts[0], ("all packages", [text for _, texts in parts[1:] for text in texts])]
        part = os.path.join(self.tmp, "part.lock")
        for number, (title, texts) in enumerate(parts, 1):
            say(f"      {number}/{len(parts)} {title}")
            with open(part, "w") as file:
                file.writelines(texts)
            # The list is complete, hence --no-deps. Three are sources, built with the locked setuptools.
            arguments = ["--no-deps", "--no-build-isolation", "--require-hashes", "-r", part]
            self.install(arguments, "installing " + title)

    def install_detectron2(self):
        """installs the Python files of detectron2 (wheel sal-detectron2), or keeps the one that is there"""
        if self.imports(IMPORT_DETECTRON2):
            return
        if any(re.match(r"detectron2-.*-info$", name) for name in os.listdir(self.purelib)):
            raise StepFailed(
                f"the detectron2 in .venv fails to import, see {self.log}; repair or uninstall it"
            )
        stage = os.path.join(self.tmp, "detectron2")
        remove(stage)
        # The wheel is tagged for Python 3.10, on account of a C extension that we do not use.
        wheel = ["--only-binary=:all:", "--python-version", "3.10", "--target", stage]
        lock = os.path.join(self.root, "detectron2.lock")
        self.install(["--no-deps"] + wheel + ["--require-hashes", "-r", lock], "installing detectron2")
        strip_wheel(stage)
        for name in os.listdir(stage):
            if "detectron2" in name:
                remove(os.path.join(self.purelib, name))
                os.replace(os.path.join(stage, name), os.path.join(self.purelib, name))
        self.do([self.python, "-I", "-c", IMPORT_DETECTRON2], "importing detectron2")

    def install_project(self):
        """installs stpn itself, with its scripts"""
        offline = "--offline" if self.uv else "--no-index"
        self.install(["--no-deps", "--no-build-isolation", offline, "-e", "."], "installing stpn")
        for source in SCRIPTS if os.name == "posix" else ():
            # pip's copies would not see later edits, and do not start in a folder with a space in its path.
            path, script = os.path.join(self.bin, os.path.basename(source)), os.path.join(self.root, source)
            with open(path + ".tmp", "w") as file:
                file.write(f'#!/bin/sh\nexec {shlex.quote(self.python)} {shlex.quote(script)} "$@"\n')
            os.chmod(path + ".tmp", 0o755)
            os.replace(path + ".tmp", path)

    def self_check(self):
        """checks itself: imports everything and runs a tiny model on two frames"""
        self.do([self.python, "-c", SELF_CHECK], "the self-check")


def tail(log, count=15):
    """The last lines of a log, without empty ones and pip's remarks about places that it did not look at."""
    with open(log, "rb") as file:
        lines = file.read().decode("utf-8", "replace").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("WARNING: Location")][-count:]


def lock(root):
    """Waits until no other set-up is at work in this checkout; returns the open file that holds the lock.

    The lock is on bootstrap.py itself, which no step writes; the system drops it when its last holder ends.
    """
    file = open(os.path.join(root, "bootstrap.py"))  # noqa: SIM115 (the caller closes it)
    try:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waits for another bootstrap.py that is at work here")
            fcntl.flock(file, fcntl.LOCK_EX)
    except (ImportError, OSError):
        pass  # Windows, or a file system without locks: go on without
    return file


def set_up(root, uv):
    """Does what is left of the set-up; raises Missing or StepFailed. Returns the Setup."""
    with lock(root) as held:
        setup = Setup(root, uv=uv, inherit=(held.fileno(),) if os.name == "posix" else ())
        if not setup.ready():
            free, taken = shutil.disk_usage(setup.root).free, folder_bytes(setup.folder)
            problem = (None if uv else missing_modules(sys.version_info)) or missing_space(free, taken)
            if problem:
                raise Missing(problem)
            say(f"sets up {setup.folder} with {'uv' if uv else 'pip'}")
            setup()
        os.makedirs(setup.tmp, exist_ok=True)
    return setup


def task(setup, name, arguments):
    """(command, environment) of a task; the user's arguments come last, so they win."""
    if name == "demo":
        script = [os.path.join(setup.root, "projects", "STPN", "toy_demo.py")]
        return [setup.python] + script + ["--output", os.path.join("output", "demo")] + arguments, setup.env
    env = dict({"OMP_NUM_THREADS": "1"}, **setup.env)  # two test processes share two cores
    return [setup.python, "-m", "pytest", "-n", "2"] + arguments, env


def hand_over(command, cwd, env):
    """Goes on as `command`: its signals and its exit code are ours."""
    os.chdir(cwd)
    sys.stdout.flush()
    if os.name == "posix":
        os.execve(command[0], command, env)
    sys.exit(subprocess.call(command, env=env))


def complain(text):
    print("bootstrap.py: " + text, file=sys.stderr)


def main(arguments):
    """Exit code for the command line `arguments`."""
    name = arguments[0] if arguments else ""
    problem = missing_python(sys.version_info)
    if name in ("-h", "--help"):
        say(__doc__)
        return 0
    if name not in ("", "demo", "test"):
        problem = f"got {name!r}, expected demo, test or nothing; see bootstrap.py --help"
    if problem:
        complain(problem)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit that takes the running child along
    try:
        setup = set_up(os.path.dirname(os.path.abspath(__file__)), shutil.which("uv"))
    except (Missing, StepFailed, OSError) as error:
        complain(str(error))
        return 2 if isinstance(error, (Missing, PermissionError)) else 1
    except KeyboardInterrupt:
        complain("interrupted; the same command again goes on from here")
        return 130
    if name:
        command, env = task(setup, name, arguments[1:])
        hand_over(command, setup.root, env)
    say("ready: python3 bootstrap.py demo, python3 bootstrap.py test")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
