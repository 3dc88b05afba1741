"""A page in Markdown that holds finished studies and pictures, as a folder of files that a repository can carry."""

import json
from pathlib import Path

import yaml

from ..errors import InputError, atomic_path
from .report import DRAWING, PLOT, RESULTS, report_body

PAGE, FINDINGS = "README.md", "findings.yaml"
LARGEST = 3 * 2**20  # bytes of the whole folder
_KEYS = ("paper", "found")


def read_findings(folder):
    """-> {key of a study or picture: {"paper": text, "found": text}} of the FINDINGS in folder, each as far as given;
    {} without that file. InputError for another form."""
    path = Path(folder) / FINDINGS
    if not path.is_file():
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    for key, said in found.items() if isinstance(found, dict) else [("the file", None)]:
        if not isinstance(said, dict) or not all(k in _KEYS and isinstance(v, str) for k, v in said.items()):
            raise InputError(f"{path}: {key} is {said!r}; expected {' and '.join(_KEYS)} with a text each")
    return found


def study_section(folder, stem, *, trained, said):
    """folder: of a finished study; trained: a sentence on how; said: of it in the findings. -> (Markdown, {file name:
    bytes})."""
    folder = Path(folder)
    summary = json.loads((folder / RESULTS).read_text())
    names = {f"{stem}.json": RESULTS, f"{stem}.png": PLOT, f"{stem}.svg": DRAWING}
    picture = f"[![{summary['name']}]({stem}.png)]({stem}.svg)"
    parts = [f"## {summary['name']}", picture, *_paragraphs(said), trained, report_body(folder, level=3).strip(),
             f"The numbers of every seed: [{stem}.json]({stem}.json)."]
    return "\n\n".join(parts), {name: (folder / source).read_bytes() for name, source in names.items()}


def picture_section(picture, said):
    """picture: has title, files ({name: bytes}) and caption; said: of it in the findings. -> Markdown"""
    shown = [f"![{picture.title}]({name})" for name in picture.files]
    return "\n\n".join([f"### {picture.title}", *shown, picture.caption, *_paragraphs(said)])


def _paragraphs(said):
    titles = {"paper": "The paper", "found": "Found here"}
    return [f"**{titles[key]}:** {' '.join(said[key].split())}" for key in _KEYS if said.get(key, "").strip()]


def write_page(folder, text, files):
    """Write text as PAGE and files, {name: bytes}, into folder -> size of the folder in bytes. InputError, before
    anything is written, where the folder would be larger than LARGEST."""
    folder, files = Path(folder), {PAGE: text.encode(), **files}
    kept = {path.name: path.stat().st_size for path in folder.glob("*") if path.is_file()}
    sizes = kept | {name: len(content) for name, content in files.items()}
    if sum(sizes.values()) > LARGEST:
        largest = max(sizes, key=sizes.get)
        raise InputError(f"{folder} would have {sum(sizes.values()) / 2**20:.1f} MB; expected at most "
                         f"{LARGEST / 2**20:.0f}; the largest file is {largest} with {sizes[largest] / 2**20:.1f} MB; "
                         "make it smaller, or delete files that no longer belong there")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with atomic_path(folder / name) as part:
            part.write_bytes(content)
    return sum(sizes.values())
