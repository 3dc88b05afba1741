"""Who may import whom (design: one idea, tasks around it), read from the files with ast."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Package -> packages of stpn it may import. "errors", "crops" and "config" are leaves.
ALLOWED = {
    "prompting": set(),
    "encoders": set(),
    "heads": set(),
    "meta_arch": {"prompting", "encoders", "heads", "crops", "errors"},
    "data": {"prompting.sampling", "prompting", "errors", "config", "crops"},
    "evaluation": {"data", "errors"},
    "engine": {"data", "evaluation", "meta_arch", "prompting", "errors", "config", "crops"},
    # heads: how SELSA's support is joined; evaluation: labels, and which objects it calls slow or fast.
    "explain": {"encoders", "heads", "prompting", "data", "evaluation", "errors"},
    "study": {"data", "engine", "prompting", "errors"},
    "errors": set(),
    "crops": {"errors"},
    "config": set(),
}


def imported(path):
    """Names of stpn modules that the file imports, without the leading 'stpn.'."""
    package = ["stpn", *path.relative_to(ROOT / "stpn").parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *((node.module or "").split(".") if node.module else [])]
            names = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        yield from (name[len("stpn."):] for name in names if name.startswith("stpn."))


FILES = sorted((ROOT / "stpn").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_design(path):
    own = path.relative_to(ROOT / "stpn").with_suffix("").parts[0]
    if own == "__init__":
        return
    for name in imported(path):
        top = name.split(".")[0]
        assert top == own or top in ALLOWED[own], f"{own} must not import stpn.{name}"


def test_data_imports_nothing_of_prompting_but_the_sampler():
    for path in FILES:
        if path.relative_to(ROOT / "stpn").parts[0] == "data":
            wrong = [n for n in imported(path) if n.startswith("prompting")
                     and n.split(".")[1:] not in ([], ["sampling"], ["sampling", "SupportSampler"], ["SupportSampler"],
                                              ["sampling", "PastSampler"])]
            assert wrong == []


def test_prompting_and_encoders_need_no_detectron2_model_zoo():
    for path in [*FILES, *sorted((ROOT / "projects").rglob("*.py"))]:
        assert "model_zoo" not in path.read_text(), f"{path}: detectron2.model_zoo does not import everywhere"


def test_no_name_says_utils_or_a_version():
    for path in FILES:
        assert not path.stem.endswith(("utils", "_v2", "_old", "_video", "legacy")), path
