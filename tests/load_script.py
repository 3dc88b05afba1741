"""For tests that call the functions of a script."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def load_script(path):
    """path: of a script, relative to the checkout or whole -> a fresh module of it."""
    path = ROOT / path
    spec = importlib.util.spec_from_file_location(f"stpn_script_{path.stem}", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script
