"""Weight files on disk: read_checkpoint reads every kind, write_checkpoint and export_safetensors write.

This is the only module that turns a weight file into tensors. What it returns is plain data with finite
numbers, or it raises InputError with one line that names the file and what to do.
"""

import zipfile
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch

from ..errors import InputError, atomic_path
from .safe_pickle import RefusedName, load_pickle, load_torch

_COPY_AGAIN = "copy or download it again"
_RESAVE = "save the tensors alone as .safetensors in the program that wrote it, then load that"


def read_checkpoint(path):
    """Read .safetensors, .pth/.pt/.bin/.pth.tar (torch.save) or .pkl -> dict of plain data, tensors on the CPU.

    A .safetensors file becomes {"model": {name: tensor}, "metadata": {str: str}}; the others keep their own
    layout. Nothing in the file is executed. Raises InputError for a missing, empty, truncated or damaged
    file, for content other than plain data, and for NaN or Inf in any tensor.
    """
    if not str(path):
        raise InputError("no weight file is named; set MODEL.WEIGHTS")
    path = Path(path)
    if path.is_dir():
        known = sorted(file.name for file in path.iterdir() if file.suffix.lower() in _READERS)[:8]
        raise InputError(f"{path} is a folder; name a weight file in it"
                         + (f": {', '.join(known)}" if known else " (there is none)"))
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InputError(f"{path}: unknown kind of weight file {path.suffix!r}; known: {', '.join(_READERS)}")
    _check_there(path)
    try:
        content = read(path)
    except RefusedName as error:
        raise InputError(
            f"{path}: refused, it holds {error.name}, which is not plain data; nothing was run; {_RESAVE}"
        ) from None
    except InputError:
        raise
    except Exception as error:
        # The formats raise many kinds of error for broken bytes (KeyError, RuntimeError, even OSError).
        if getattr(error, "filename", None):  # it could not be opened
            raise
        raise InputError(f"{path}: {_diagnosis(path, error)}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected a dict of tensors; {_RESAVE}")
    check_finite(content, path)
    return content


def check_finite(content, where):
    """Raise InputError naming the first tensor or array in nested containers that holds NaN or Inf."""
    for name, leaf in _leaves(content):
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fc":
            leaf = torch.from_numpy(np.asarray(leaf, leaf.dtype.newbyteorder("=")))
        if isinstance(leaf, torch.Tensor) and (leaf.is_floating_point() or leaf.is_complex()):
            bad = leaf.numel() - int(torch.isfinite(leaf).sum())
            if bad:
                raise InputError(
                    f"{where}: {name} has {bad} of {leaf.numel()} values that are NaN or Inf; "
                    "use an earlier checkpoint"
                )


def write_checkpoint(data, path):
    """torch.save data to path, whole or not at all. Raises OSError (ENOSPC, EFBIG, ...) when there is no
    space; a file that was at path before then stays as it was."""
    _check_plain(data)
    try:
        with atomic_path(path) as part, open(part, "wb") as handle:
            watched = _Watched(handle)
            try:
                torch.save(data, watched)
            except RuntimeError as error:
                # torch's writer hides the system's error behind its own bookkeeping ("unexpected pos").
                raise (watched.failure or error) from None
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def export_safetensors(model_or_state, path, *, metadata=None, half=False):
    """Write weights for release: names, numbers and text, nothing else. The folder of path is made.

    model_or_state: a module or {name: tensor}. metadata: {str: str} stored in the header. half: store
    floating tensors in 16 bits; loading brings them back to the model's own type. Raises InputError if a
    value is not finite (in 16 bits: also beyond 65504).
    """
    state = model_or_state.state_dict() if hasattr(model_or_state, "state_dict") else model_or_state
    tensors = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor)
        .detach()
        .cpu()
        .clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
        if not name.endswith(RECOMPUTED)
    }
    check_finite(tensors, path)
    Path(path).parent.mkdir(parents=True, exist_ok=True)  # a training must not be lost for a folder
    with atomic_path(path) as part:
        Path(part).write_bytes(safetensors.torch.save(tensors, metadata=metadata))


# Buffers that some Swins store although they follow from the window size.
RECOMPUTED = ("relative_position_index", "attn_mask")


def _read_safetensors(path):
    with safetensors.safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        return {"model": tensors, "metadata": file.metadata() or {}}


def _read_pickle(path):
    with open(path, "rb") as file:
        if file.read(4) == b"PK\x03\x04":  # written by torch.save under the other name
            return load_torch(path)
        file.seek(0)
        return load_pickle(file)


_READERS = {
    ".safetensors": _read_safetensors,
    ".pth": load_torch,
    ".pt": load_torch,
    ".bin": load_torch,
    ".tar": load_torch,  # "x.pth.tar", as MixFormer and others call what torch.save wrote
    ".pkl": _read_pickle,
}


def _check_there(path):
    if not path.is_file():
        known = sorted(file.name for file in path.parent.glob("*") if file.suffix in _READERS)[:8]
        there = f"that folder holds {', '.join(known)}" if known else "there is no weight file in that folder"
        advice = ""
        if not path.parent.is_dir():
            there = f"there is no folder {path.parent}"
            advice = ": train the configuration that writes there first (that of a ..._score.yaml is its first stage)"
        raise InputError(f"no such weight file: {path}; {there}{advice}{', or' if advice else ';'} name another one "
                         "(MODEL.WEIGHTS, demo.py --weights)")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); {_COPY_AGAIN}")


def _diagnosis(path, error):
    """What is wrong with the bytes of a file that could not be read, and the next step."""
    with open(path, "rb") as file:
        start = file.read(9)
    size = path.stat().st_size
    text = str(error).split("\n")[0][:150]
    signs = ("truncated", "unexpected EOF", "incomplete", "exhausted", "not fully covered")
    cut = isinstance(error, EOFError) or any(sign in text for sign in signs)
    if path.suffix == ".safetensors":
        known = len(start) < 9 or start[8:9] == b"{"
        cut = cut or len(start) < 9 or "invalid header length" in text
    else:
        known = start[:2] == b"PK" or start[:1] == b"\x80"
        cut = cut or start[:2] == b"PK" and not zipfile.is_zipfile(path)
    if known and cut:
        return f"is truncated (its {size} bytes end too early); {_COPY_AGAIN}"
    if not known:
        return f"is not a {path.suffix} weight file (it begins with {start!r}); {_COPY_AGAIN}"
    return f"is damaged or of an unknown kind ({type(error).__name__}: {text}); {_COPY_AGAIN}, or {_RESAVE}"


def _leaves(content, name=""):
    """Yield (dotted name, leaf) for everything in nested dicts, lists and tuples."""
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, (list, tuple)):
        items = enumerate(content)
    else:
        yield name, content
        return
    for key, value in items:
        yield from _leaves(value, f"{name}.{key}" if name else str(key))


_PLAIN = (torch.Tensor, np.ndarray, np.generic, str, bytes, int, float, complex, type(None), torch.dtype)


def _check_plain(data):
    """What read_checkpoint would refuse is refused when saved, not days later at the resume."""
    for name, leaf in _leaves(data):
        if not isinstance(leaf, _PLAIN + (set, torch.device)):
            raise TypeError(f"cannot save {name}: a {type(leaf).__name__} is not plain data")


class _Watched:
    """A binary file that remembers why a write failed."""

    def __init__(self, handle):
        self.handle, self.failure = handle, None

    def write(self, data):
        try:
            return self.handle.write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise

    def flush(self):
        self.handle.flush()
