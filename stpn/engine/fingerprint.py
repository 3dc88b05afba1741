"""What an evaluation is made with, in digests: an interrupted one is only taken up with the same."""

import hashlib
from importlib import metadata
from pathlib import Path

import torch

# What the configuration says beside these does not move a box.
NODES = ("MODEL", "INPUT", "TEST")
PACKAGE = Path(__file__).resolve().parents[1]


def evaluation_fingerprint(cfg, model):
    """-> {"parameters": digest of all parameters and buffers, "configuration": digest of NODES, "program": this
    package's version and digest}. Where the weights come from, and when and against what figures is evaluated, does not
    count; the device does: its sums have another order, and its speed is another."""
    relevant = cfg.clone()
    relevant.defrost()
    relevant.MODEL.WEIGHTS, relevant.TEST.EVAL_PERIOD, relevant.TEST.EXPECTED_RESULTS = "", 0, []
    text = "".join(relevant[node].dump() for node in NODES)
    return {"parameters": _digest(model), "configuration": hashlib.sha256(text.encode()).hexdigest(),
            "program": f"{_version()} {program_digest(PACKAGE)}"}


def program_digest(folder):
    """-> digest of the names and contents of all .py files below folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(repr((path.relative_to(folder).as_posix(), path.read_bytes())).encode())
    return digest.hexdigest()


def _version():
    try:
        return metadata.version("stpn")
    except metadata.PackageNotFoundError:
        return "not installed"


def _digest(model):
    digest, model = hashlib.sha256(), getattr(model, "module", model)  # of several processes: without their wrapper
    for name, value in sorted(model.state_dict().items()):
        if torch.is_tensor(value):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
