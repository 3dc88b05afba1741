"""Pickled data from strangers, read as plain data.

A pickle names classes and asks the reader to call them; that is how a weight file can run a program. Here
every name on a short list is answered by a stand-in that only records what it was given, every other name
is refused, and `thaw` turns the records into tensors, arrays and containers once the file has been read.
There is no second, permissive attempt: a fallback would let the file choose how it is read.
"""

import contextlib
import io
import pickle
import re
import threading
from collections import OrderedDict

import numpy as np
import torch

from ..errors import InputError

SAFE_TORCH = (2, 10)  # older readers of "weights only" files can be made to run code or write memory

_NUMBER_OR_TEXT = re.compile(r"[biufcSU]\d+")  # numpy type codes without objects and structures


class RefusedName(pickle.UnpicklingError):
    """The file asks for a class or function that is not plain data; `name` is its dotted name."""

    def __init__(self, name):
        super().__init__(f"{name} is not plain data")
        self.name = name


class _Sealed(type):
    """A pickle may assign attributes to what it was given; on a stand-in class this must fail."""

    def __setattr__(cls, name, value):
        raise pickle.UnpicklingError(f"the file tries to change {cls.__name__}.{name}")


class _Record(metaclass=_Sealed):
    """Remembers the arguments of a call and the state that follows it. `thaw(plain)` makes the value;
    `plain` is the function that thaws what the record holds."""

    __slots__ = ("args", "state")

    def __new__(cls, *args):
        self = object.__new__(cls)
        self.args, self.state = args, None
        return self

    def __setstate__(self, state):
        self.state = state

    def thaw(self, plain):
        raise ValueError(f"{type(self).__name__} stands alone in the file")


class _ArrayType(_Record):
    """numpy.ndarray, which the file hands to _Array."""


class _Dtype(_Record):
    """numpy.dtype(code, align, copy), state (version, byte order, ...)."""

    def thaw(self, plain):
        code, order = str(self.args[0]), (self.state or (0, "|"))[1]
        if not _NUMBER_OR_TEXT.fullmatch(code) or order not in ("<", ">", "|", "="):
            raise RefusedName(f"numpy.dtype({code!r})")
        return np.dtype(order + code)


class _Scalar(_Record):
    """A numpy number: (dtype, its bytes)."""

    def thaw(self, plain):
        return np.frombuffer(_bytes(self.args[1]), plain(self.args[0]), count=1)[0]


class _Array(_Record):
    """A numpy array up to pickle protocol 4: state (version, shape, dtype, Fortran order, bytes)."""

    def thaw(self, plain):
        shape, dtype, fortran, data = self.state[-4:]
        return _array(data, plain(dtype), shape, "F" if fortran else "C")


class _BufferArray(_Record):
    """A numpy array from pickle protocol 5 on: (bytes, dtype, shape, order)."""

    def thaw(self, plain):
        data, dtype, shape, order = self.args
        return _array(data, plain(dtype), shape, "F" if order == "F" else "C")


class _Storage(_Record):
    """The numbers of a tensor that was pickled without torch.save: bytes in torch's own format."""

    def thaw(self, plain):
        return load_torch(io.BytesIO(_bytes(self.args[0])))


class _Tensor(_Record):
    """(storage, offset, size, stride, ...); torch checks that the view lies inside the storage."""

    def thaw(self, plain):
        storage, offset, size, stride = (plain(arg) for arg in self.args[:4])
        return torch._utils._rebuild_tensor(storage, offset, size, stride)


class _Parameter(_Record):
    """(tensor, requires_grad, hooks)."""

    def thaw(self, plain):
        return plain(self.args[0])


class _Fields(_Record):
    """An object of which only the attributes matter, as a dict: argparse.Namespace, a training's settings."""

    def thaw(self, plain):
        return plain(dict(self.state or {}))


class _Section(metaclass=_Sealed):
    """CfgNode: its items as a dict; the flags it keeps as attributes are dropped by `thaw`."""

    def __new__(cls, *args):
        return OrderedDict()  # torch's reader fills only dict and OrderedDict


class _Text(metaclass=_Sealed):
    """torch.__version__, which many programs store: a subclass of str."""

    def __new__(cls, text):
        return str(text)


class _Latin1(metaclass=_Sealed):
    """_codecs.encode: how protocol 2 spells bytes."""

    def __new__(cls, text, encoding="latin1"):
        return str(text).encode("latin1")


_STAND_INS = {
    "argparse.Namespace": _Fields,
    "detectron2.config.config.CfgNode": _Section,
    "fvcore.common.config.CfgNode": _Section,
    "yacs.config.CfgNode": _Section,
    "numpy.ndarray": _ArrayType,
    "numpy.dtype": _Dtype,
    "torch.torch_version.TorchVersion": _Text,
}
for _home in ("numpy.core", "numpy._core"):  # numpy 1 and numpy 2
    _STAND_INS[f"{_home}.multiarray.scalar"] = _Scalar
    _STAND_INS[f"{_home}.multiarray._reconstruct"] = _Array
    _STAND_INS[f"{_home}.numeric._frombuffer"] = _BufferArray
# What MixFormer and its relatives store beside the weights: settings and running means of their training.
for _name in ("settings.Settings", "stats.AverageMeter", "stats.StatValue", "local.EnvironmentSettings"):
    _STAND_INS[f"lib.train.admin.{_name}"] = _Fields
_PICKLE_ONLY = {  # torch.load knows these itself
    "collections.OrderedDict": OrderedDict,
    "builtins.set": set,
    "__builtin__.set": set,  # its name up to protocol 2
    "_codecs.encode": _Latin1,
    "torch._utils._rebuild_tensor_v2": _Tensor,
    "torch._utils._rebuild_parameter": _Parameter,
    "torch.storage._load_from_bytes": _Storage,
}


def load_pickle(file):
    """An open binary file with one pickle -> tensors, arrays, numbers, text and containers of them."""
    return thaw(_Unpickler(file, encoding="latin1").load())


def load_torch(file):
    """A path or open binary file written by torch.save -> the same kinds of value, on the CPU."""
    if tuple(int(n) for n in torch.__version__.split(".")[:2]) < SAFE_TORCH:
        raise InputError(f"torch {torch.__version__} cannot read checkpoints safely (CVE-2026-24747); "
                         "install torch 2.10 or newer, or give the weights as safetensors")
    with _only_stand_ins():
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            name = re.search(r"GLOBAL (\S+)", str(error))
            raise (RefusedName(name[1]) if name else error) from None
    return thaw(content)


def thaw(value):
    """Replace records by the values they stand for, in containers of any depth. What the file holds twice
    is made once, so that a small file cannot unfold into a large object."""
    done = {}  # id -> (item, its value); the item is kept so that its id stays its own

    def plain(item):
        if id(item) not in done:
            done[id(item)] = (item, _UNFINISHED)
            done[id(item)] = (item, _thaw_one(item, plain))
        if done[id(item)][1] is _UNFINISHED:
            raise ValueError("a container holds itself")
        return done[id(item)][1]

    return plain(value)


_UNFINISHED = object()


def _thaw_one(item, plain):
    if isinstance(item, _Record):
        return item.thaw(plain)
    if isinstance(item, dict):
        return {plain(key): plain(value) for key, value in dict.items(item)}
    if isinstance(item, (list, tuple, set, frozenset)) and not isinstance(item, torch.Size):
        kind = next(kind for kind in (list, tuple, set, frozenset) if isinstance(item, kind))
        return kind(plain(value) for value in item)
    return item.detach() if isinstance(item, torch.Tensor) else item


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        full = f"{module}.{name}"
        if full in _PICKLE_ONLY:
            return _PICKLE_ONLY[full]
        if full in _STAND_INS:
            return _STAND_INS[full]
        raise RefusedName(full)


_allow_list_lock = threading.Lock()


@contextlib.contextmanager
def _only_stand_ins():
    """torch's allow-list belongs to the process: any library may have added to it. Ours alone for a while."""
    with _allow_list_lock:
        others = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals([(stand_in, name) for name, stand_in in _STAND_INS.items()])
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(others)


def _bytes(data):
    # Python 2 wrote bytes as text; encoding="latin1" above keeps each value.
    return data.encode("latin1") if isinstance(data, str) else bytes(data)


def _array(data, dtype, shape, order):
    return np.frombuffer(_bytes(data), dtype).reshape(shape, order=order).copy()
