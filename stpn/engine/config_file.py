"""Configuration files: YAML as plain data, checked key by key; errors name file, line and nearest key."""

import difflib
import logging
import math
from pathlib import Path

import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.config.compat import ConverterV1, ConverterV2

from ..config import add_stpn_config
from ..errors import InputError

logger = logging.getLogger(__name__)

PROJECT = Path(__file__).resolve().parents[2]  # the checkout: configs/ and projects/ lie there
_RENAMED = dict(ConverterV1.RENAME + ConverterV2.RENAME)  # keys of detectron2's old config versions
# Keys below MODEL that say how a model is used, not what it is; so does everything that ends in _TEST.
_NOT_ARCHITECTURE = ("MODEL.WEIGHTS", "MODEL.DEVICE")


def load_config(path=None, overrides=()):
    """Defaults, then the YAML file at path with its _BASE_ files, then KEY VALUE pairs -> CfgNode.

    overrides: ["SOLVER.MAX_ITER", "100", ...] as typed; values are Python literals or text. A relative
    MODEL.WEIGHTS is looked up in the working folder, then in the project (see find_weights). Raises
    InputError with one line: file and line, the key, what was expected, the nearest key.
    """
    cfg = get_cfg()
    add_stpn_config(cfg)
    if path:
        _merge_file(cfg, Path(path).expanduser(), ())
    _merge_pairs(cfg, list(overrides))
    cfg.MODEL.WEIGHTS = find_weights(cfg.MODEL.WEIGHTS)
    return cfg


def find_weights(name):
    """Where the weights are: as typed if that exists (relative to the working folder), else below the
    project's folder, so that the configs that come with it can name projects/STPN/weights/x.safetensors; else
    as typed."""
    if not name or "://" in name or Path(name).is_absolute() or Path(name).exists():
        return name
    inside = PROJECT / name
    return str(inside) if inside.is_file() else name


def flatten_config(cfg):
    """CfgNode -> {"MODEL.STPN.ENABLED": True, ...}, plain data for a checkpoint."""
    flat = {}
    for key, value in cfg.items():
        if isinstance(value, CfgNode):
            flat.update((f"{key}.{rest}", leaf) for rest, leaf in flatten_config(value).items())
        else:
            flat[key] = _plain(value)
    return flat


def check_resumable_config(saved, cfg, where):
    """Compare the flat config in a checkpoint with the present one: differing keys are logged, a changed
    architecture (MODEL.* but for weights, device and test thresholds) is an InputError. where: the file."""
    if saved is None or cfg is None:
        return
    now = flatten_config(cfg)
    changed = [key for key in now if key in saved and _plain(saved[key]) != now[key]]
    texts = {key: f"{key} {saved[key]!r} -> {now[key]!r}" for key in changed}
    refused = [key for key in changed if _is_architecture(key)]
    if refused:
        differences = "; ".join(texts[key] for key in refused)
        raise InputError(
            f"cannot resume from {where}: its architecture differs: {differences}; "
            "restore these keys, or use another OUTPUT_DIR and start from its weights with MODEL.WEIGHTS"
        )
    if changed:
        logger.warning("the config differs from the one in %s: %s", where, "; ".join(texts.values()))


def _is_architecture(key):
    return key.startswith("MODEL.") and key not in _NOT_ARCHITECTURE and not key.endswith("_TEST")


def _plain(value):
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _merge_file(cfg, path, inside):
    """Merge the file's bases, then the file itself, so that each error belongs to one file.
    inside: the files whose _BASE_ led here."""
    path = path.resolve()
    if path in inside:
        chain = " -> ".join(file.name for file in (*inside, path))
        raise InputError(f"{inside[-1]}: _BASE_ goes round in a circle: {chain}")
    text, content = _read_yaml(path, inside)
    bases = content.pop("_BASE_", [])
    for base in [bases] if isinstance(bases, str) else bases or []:
        if not isinstance(base, str) or "://" in base:
            raise InputError(f"{path}:{_line(text, ['_BASE_'])}: _BASE_ must name files, got {base!r}")
        base = path.parent / Path(base).expanduser()
        if not base.resolve().is_relative_to(PROJECT) and base.resolve().parent != path.parent:
            logger.warning("%s: its _BASE_ lies outside the project: %s", path, base.resolve())
        _merge_file(cfg, base, (*inside, path))
    for keys, value in _leaves(content, cfg):
        _set(cfg, keys, value, lambda keys=keys: f"{path}:{_line(text, keys)}")


def _read_yaml(path, inside):
    """-> (text, dict). Only plain YAML: a tag that names Python is an error, nothing is constructed."""
    if not path.is_file():
        by = f"{inside[-1]}: its _BASE_ names a missing file" if inside else "no such config file"
        raise InputError(f"{by}: {path}; {_configs_near(path)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = yaml.safe_load(text)
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file; expected YAML") from None
    except yaml.constructor.ConstructorError as error:
        problem = " ".join(str(error.problem).split())
        raise InputError(
            f"{path}:{_mark(error)}: refused, {problem}; a config is plain data and nothing in it is run"
        ) from None
    except yaml.YAMLError as error:
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError(f"{path}:{_mark(error)}: not valid YAML: {problem}") from None
    if not isinstance(content or {}, dict):
        raise InputError(f"{path}: expected KEY: VALUE lines, got a {type(content).__name__}")
    return text, content or {}


def _mark(error):
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark else "?"


def _configs_near(path):
    folder = path.parent if path.parent.is_dir() else PROJECT / "configs"
    names = sorted(file.name for file in folder.glob("*.yaml"))
    return f"configs in {folder}: {', '.join(names[:12]) or 'none'}"


def _leaves(content, node, above=()):
    """Yield ([key, ...], value) for everything that is not a section in the config."""
    for key, value in content.items():
        keys = [*above, str(key)]
        below = node.get(str(key)) if isinstance(node, CfgNode) else None
        if isinstance(below, CfgNode) and not value and not isinstance(value, (str, int, list)):
            continue  # a section with nothing in it
        if isinstance(value, dict) and value and (isinstance(below, CfgNode) or below is None):
            yield from _leaves(value, below, keys)
        else:
            yield keys, value


def _merge_pairs(cfg, pairs):
    if len(pairs) % 2:
        hint = "write KEY VALUE, not KEY=VALUE" if "=" in str(pairs[-1]) else "write KEY VALUE pairs"
        raise InputError(f"{len(pairs)} items after the options: {str(pairs[-1])!r} has no value; {hint}")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        _set(cfg, str(key).split("."), value, lambda: "command line")


def _set(cfg, keys, value, where):
    """Set one key by yacs's rules (types must match, text may be a literal); an int may stand for a float."""
    name = ".".join(keys)
    node = cfg
    for key in keys[:-1]:
        node = node.get(key) if isinstance(node, CfgNode) else None
    if not isinstance(node, CfgNode) or keys[-1] not in node:
        raise InputError(f"{where()}: {_unknown(cfg, name)}")
    old = node[keys[-1]]
    if isinstance(old, CfgNode):
        raise InputError(f"{where()}: {name} is a section (keys: {', '.join(list(old)[:8])}), got {value!r}")
    try:
        node.merge_from_list([keys[-1], _as_float(value) if type(old) is float else value])
    except (ValueError, AssertionError, KeyError, TypeError, MemoryError, RecursionError):
        raise InputError(
            f"{where()}: {name} expects {type(old).__name__} like {old!r}, "
            f"got {value!r} ({type(value).__name__})"
        ) from None


def _as_float(value):
    """1 and "5e-5" (which YAML takes for text) as floats; what is no finite number stays, to be refused."""
    try:
        number = value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return value
    return number if math.isfinite(number) else value


def _unknown(cfg, name):
    known = list(flatten_config(cfg))
    if name in known:
        return f"write {name} as nested sections, one per line"
    if name in _RENAMED and _RENAMED[name] in known:
        return f"the key {name} is now called {_RENAMED[name]}"
    if name in cfg.__dict__.get(CfgNode.DEPRECATED_KEYS, ()):
        return f"the key {name} is deprecated and has no effect; remove it ({_nearest(name, known)})"
    if name in cfg.__dict__.get(CfgNode.RENAMED_KEYS, {}):
        new = cfg.__dict__[CfgNode.RENAMED_KEYS][name]
        return f"the key {name} is now called {new if isinstance(new, str) else ': '.join(new)}"
    return f"unknown key {name} ({_nearest(name, known)})"


def _nearest(name, known):
    same_end = [key for key in known if key.split(".")[-1] == name.upper().split(".")[-1]]
    near = difflib.get_close_matches(name.upper(), same_end, 1, 0.0) or difflib.get_close_matches(
        name.upper(), known, 1, 0.5
    )
    return f"nearest: {near[0]}" if near else "print(stpn.engine.config_file.load_config()) lists all"


def _line(text, keys):
    """Line (from 1) of a key in a YAML text that has been read before."""
    node, line = yaml.compose(text, Loader=yaml.SafeLoader), 1
    for key in keys:
        for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if name.value == key:
                node, line = value, name.start_mark.line + 1
                break
    return line
