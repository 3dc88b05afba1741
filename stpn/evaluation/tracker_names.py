"""Names for several trackers, from where their results are."""

from pathlib import Path

from ..errors import InputError


def tracker_names(paths):
    """-> {name: path}, in the order given. A name is tracker_name's; where two have the same, it is what their paths
    differ in: x/a/val/tracks and x/b/val/tracks are a and b."""
    resolved = [Path(path).resolve() for path in paths]
    for number, path in enumerate(resolved):
        if path in resolved[:number]:
            raise InputError(f"{paths[number]} is given twice; expected the results of different trackers")
    names = [tracker_name(path) for path in resolved]
    for name in {name for name in names if names.count(name) > 1}:
        rows = [row for row, other in enumerate(names) if other == name]
        for row, told_apart in zip(rows, _differences([resolved[row].parts[:-1] for row in rows], name), strict=True):
            names[row] = told_apart
    if len(set(names)) < len(names):
        raise InputError(f"two trackers would be called {max(names, key=names.count)}; rename one of the results")
    return dict(zip(names, paths, strict=True))


def tracker_name(path):
    """-> name of the folder or archive; tracks/, as train_net.py calls them all, have that of their run's folder:
    output/a/inference/set/val/tracks is a, and b/tracks is b."""
    path = Path(path).resolve()
    if not path.is_dir():
        return path.stem
    if path.name != "tracks":
        return path.name
    above = path.parent.parts
    run = above[:len(above) - above[::-1].index("inference") - 1] if "inference" in above else above
    return run[-1] if len(run) > 1 else path.name  # the first is the root


def _differences(folders, name):
    """folders: parts of each path, all different -> what is between that with which all begin and end; name where that
    is nothing."""
    first, last = _equal(folders), _equal([parts[::-1] for parts in folders])
    return ["/".join(parts[first:len(parts) - last]) or name for parts in folders]


def _equal(parts):
    """-> how many leading parts all have in common."""
    return next((i for i, column in enumerate(zip(*parts)) if len(set(column)) > 1), min(map(len, parts)))
