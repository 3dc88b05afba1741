"""Names for several trackers, from where their results are."""

from pathlib import Path

from ..errors import InputError


def tracker_names(paths):
    """-> {name: path}, in the order given. A name is that of the folder or archive; where two have the same, as all
    tracks/ of train_net.py do, it is what their paths differ in: a/val/tracks and b/val/tracks are a and b."""
    resolved = [Path(path).resolve() for path in paths]
    for number, path in enumerate(resolved):
        if path in resolved[:number]:
            raise InputError(f"{paths[number]} is given twice; expected the results of different trackers")
    names = [path.name if path.is_dir() else path.stem for path in resolved]
    for name in {name for name in names if names.count(name) > 1}:
        rows = [row for row, other in enumerate(names) if other == name]
        for row, told_apart in zip(rows, _differences([resolved[row].parts[:-1] for row in rows], name), strict=True):
            names[row] = told_apart
    if len(set(names)) < len(names):
        raise InputError(f"two trackers would be called {max(names, key=names.count)}; rename one of the results")
    return dict(zip(names, paths, strict=True))


def _differences(folders, name):
    """folders: parts of each path, all different -> what is between that with which all begin and end; name where that
    is nothing."""
    first, last = _equal(folders), _equal([parts[::-1] for parts in folders])
    return ["/".join(parts[first:len(parts) - last]) or name for parts in folders]


def _equal(parts):
    """-> how many leading parts all have in common."""
    return next((i for i, column in enumerate(zip(*parts)) if len(set(column)) > 1), min(map(len, parts)))
