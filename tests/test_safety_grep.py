"""Weights and configs are read in one place each; nothing else in the project can run what a file says."""

import ast
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
FILES = sorted(path for folder in ("stpn", "projects") for path in (PROJECT / folder).rglob("*.py"))

# Modules whose import alone means code from a file; where they are allowed.
MODULES = {"pickle": "stpn/engine/safe_pickle.py"}
MODULES.update(dict.fromkeys(("_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")))
CALLS = {
    "torch.load": "stpn/engine/safe_pickle.py",
    "yaml.load": None,
    "yaml.load_all": None,
    "yaml.full_load": None,
    "yaml.unsafe_load": None,
    "torch.jit.load": None,
    "torch.hub.load": None,
    "eval": None,
    "exec": None,
    "compile": None,
    "__import__": None,
    "pickle.loads": None,
    "pickle.load": None,
    "pandas.read_pickle": None,
}
# detectron2's reader unpickles; only the class that replaces its reading may know it.
NAMES = {"DetectionCheckpointer": "stpn/engine/checkpoint.py", "LazyConfig": None}


def dotted(node):
    """The name in a call: "torch.load", "eval"; None for anything computed (model.eval() is "model.eval")."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else None
    return None


def findings(source, file=""):
    """-> ["line: what"] of everything that may deserialise or evaluate outside its place."""
    found, aliases = [], {}

    def report(node, what, home):
        if home != file:
            found.append(f"{file}:{node.lineno}: {what}")

    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                aliases[name.asname or name.name.split(".")[0]] = (
                    name.name if name.asname else name.name.split(".")[0]
                )
                if name.name.split(".")[0] in MODULES:
                    report(node, f"import {name.name}", MODULES[name.name.split(".")[0]])
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for name in node.names:
                full = f"{node.module}.{name.name}"
                aliases[name.asname or name.name] = full
                if node.module.split(".")[0] in MODULES:
                    report(node, f"from {node.module}", MODULES[node.module.split(".")[0]])
                if full in CALLS:
                    report(node, full, CALLS[full])
                if name.name in NAMES:
                    report(node, name.name, NAMES[name.name])
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = dotted(node.func) or ""
            head, _, rest = name.partition(".")
            name = aliases.get(head, head) + (f".{rest}" if rest else "")
            if name in CALLS:
                report(node, name, CALLS[name])
            flags = {key.arg: getattr(key.value, "value", "computed") for key in node.keywords}
            if name == "torch.load" and flags.get("weights_only") is not True:
                found.append(f"{file}:{node.lineno}: torch.load without weights_only=True")
            if name.endswith("merge_from_file") and flags.get("allow_unsafe") is not False:
                found.append(f"{file}:{node.lineno}: merge_from_file without allow_unsafe=False")
            if flags.get("allow_pickle", False) is not False:
                found.append(f"{file}:{node.lineno}: allow_pickle")
    return found


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PROJECT)) for path in FILES])
def test_nothing_reads_pickles_or_evaluates_text(path):
    assert findings(path.read_text(encoding="utf-8"), path.relative_to(PROJECT).as_posix()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "import torch\ntorch.load('x', weights_only=True)",
        "import torch as t\nt.load('x')",
        "from torch import load",
        "from torch import load as read",
        "import yaml\nyaml.load(text, Loader=yaml.SafeLoader)",
        "from yaml import unsafe_load",
        "eval('1')",
        "exec('1')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "cfg.merge_from_file(path)",
        "from detectron2.checkpoint import DetectionCheckpointer",
        "import joblib",
    ],
)
def test_the_search_finds(source):
    assert findings(source)


@pytest.mark.parametrize(
    "source", ["model.eval()", "self.model.eval()", "import yaml\nyaml.safe_load(text)", "re.compile('x')"]
)
def test_the_search_leaves_alone(source):
    assert findings(source) == []
