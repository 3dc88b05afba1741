"""What a check says: counts, the problems by kind, and the pictures to look at."""

from ...errors import InputError, atomic_path
from .boxes import usable_boxes
from .checking import spread
from .contact_sheet import draw_tile, tint, write_sheet
from .problems import GOES_ON, IN_VAIN, KINDS, LEAVES_OUT, STOPS, Findings
from .sheet_font import drawable

SHOWN = 20  # problems of a kind on the screen


def text(checked, result, *, shown=SHOWN):
    """-> the report. shown: problems given of each kind, None for all."""
    head = [f"{checked.name}: {checked.format}, {checked.place}", "", *result.counts.lines(), "",
            f"decoded  {result.decoded} of the {len(checked)} pictures{' of labelled frames' * checked.labelled}",
            *checked.notes(),
            *_renamed(checked.classes)]
    return "\n".join([*head, "", *_problems(result.findings, shown)]) + "\n"


def summary(findings):
    """-> one line: how many problems there are, by what training does."""
    parts = [f"{findings.count(effect)} where {effect}" for effect in (STOPS, LEAVES_OUT, IN_VAIN, GOES_ON)
             if findings.count(effect)]
    many = "problems" if findings.count() > 1 else "problem"
    return f"{findings.count()} {many}: {', '.join(parts)}" if parts else "no problems"


def write_text(path, report):
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        part.write_text(report, encoding="utf-8")


def draw(path, checked, counts, *, videos=8, frames=4):
    """Write a contact sheet: `videos` videos with objects evenly spread over the set, of each `frames` frames
    with objects; any videos and frames where labels are hidden. -> number of frames drawn; 0 and no file (nor an
    older one) when none can be read."""
    candidates = list(counts.shown)
    rows = [_row(checked, counts.shown[candidates[i]], frames) for i in spread(len(candidates), videos)]
    rows = [row for row in rows if row]
    if rows:
        write_sheet(path, rows)
    else:
        path.unlink(missing_ok=True)
    return sum(map(len, rows))


def _row(checked, positions, frames):
    wanted = [positions[i] for i in spread(len(positions), frames)]
    tiles = []
    for position, _, image in sorted(checked.decode(wanted), key=lambda item: item[0]):
        if isinstance(image, InputError):
            continue
        frame = checked.frame(position, Findings())
        usable = usable_boxes(frame, inclusive=checked.inclusive)
        if image.shape[:2] == (frame.size or ())[::-1]:
            image = tint(image, [(box.mask, box.track) for box in usable if box.mask is not None])
        boxes = [(box.corners, _short_name(box.label, checked.classes), box.track) for box in usable]
        tiles.append(draw_tile(image, boxes, f"{frame.video_id}  frame {frame.index}"))
    return tiles


def _short_name(label, classes):
    """A class's name as the picture shows it: by its number where no font has its letters."""
    return label if drawable(label) else f"class {classes.index(label)}"


def _renamed(classes):
    renamed = [f"{_short_name(label, classes)} is {label}" for label in classes if not drawable(label)]
    return [f"names    no installed font has these letters; in the picture, {', '.join(renamed)}"] if renamed else []


def _problems(findings, shown):
    lines = [summary(findings)]
    for name, kind in KINDS.items():
        found = findings.by_kind.get(name, [])
        if not found:
            continue
        lines += ["", kind.counted(len(found))]
        lines += [f"    {where}: {message}" for where, message in found[:shown]]
        if shown is not None and len(found) > shown:
            lines.append(f"    ... and {len(found) - shown} more")
    return lines
