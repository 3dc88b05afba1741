"""Sets in YouTube-VIS form as a CheckedSet: also what is sound in a file that the loader refuses."""

import os

from ..datasets.mask_rle import mask_box, with_area
from ..datasets.ytvis import picture_folder, read_ytvis
from ..datasets.ytvis_check import TABLES, check_ytvis, is_labelled
from ..missing import missing_files
from .checked_set import CheckedBox, CheckedFrame, CheckedSet
from .sound_rows import in_file, refuse_lacking, sound_rows


class VisSet(CheckedSet):
    """Entries with a problem of their own, and what refers to them, are reported but not counted. Boxes are those
    around the masks."""

    format = "YouTube-VIS form"
    inclusive = False
    crowds = True
    empty = "training draws them, too"

    def __init__(self, path, image_root=None, *, name):
        """path: of the JSON file; image_root: as in load_ytvis. InputError when it is not JSON, or lacks a table."""
        self.name, self.place = name, str(path)
        content, self._problems = read_ytvis(path)
        refuse_lacking(path, self._problems)
        self.labelled = is_labelled(content)
        total = sum(len(content[table]) for table in self._tables())
        content, rows = self._sound(content)
        self._uncounted = total - sum(map(len, rows.values()))
        categories = {row["id"]: row["name"] for _, row in rows["categories"]}
        self._names, self.classes = categories, [categories[key] for key in sorted(categories)]
        self._videos = [row for _, row in rows["videos"]]
        root = image_root or (picture_folder(path, self._videos[0]["file_names"][0]) if self._videos else "")
        self._paths = {row["id"]: [os.path.join(root, file) for file in row["file_names"]] for row in self._videos}
        self._tracks = {row["id"]: [] for row in self._videos}
        for i, row in rows.get("annotations", ()):
            self._tracks[row["video_id"]].append((i, row))
        self._frames = [(video, t) for video in self._videos for t in range(len(video["file_names"]))]
        self.lengths = {_title(video): len(video["file_names"]) for video in self._videos}

    def __len__(self):
        return len(self._frames)

    def report(self, findings):
        for where, message, kind, _ in self._problems:
            findings.add(kind, where, message)
        missing = missing_files([path for paths in self._paths.values() for path in paths])
        for video, t in self._frames:
            path = self._paths[video["id"]][t]
            if path in missing:
                findings.add("missing picture", path, f"frame {t} of video {_title(video)}")

    def frame(self, position, findings):
        """Without boxes where the labels are hidden."""
        video, t = self._frames[position]
        size = video["height"], video["width"]
        boxes = [self._box(i, row, t, size, findings) for i, row in self._tracks[video["id"]]
                 if row["segmentations"][t]]
        return CheckedFrame(f"video {video['id']} frame {t}", _title(video), t, size[::-1],
                            [box for box in boxes if box is not None])

    def picture(self, position):
        video, t = self._frames[position]
        return self._paths[video["id"]][t]

    def without_objects(self):
        return "nothing shown", self.place, "no object in any frame: there is nothing to learn"

    def notes(self):
        kept = [] if self.labelled else ["labels   hidden: the set is for testing, not for training"]
        return kept + ([f"entries  {self._uncounted} with a problem, or that belong to one, are not counted above"]
                       if self._uncounted else [])

    def _tables(self):
        return [table for table in TABLES if table != "annotations" or self.labelled]

    def _sound(self, content):
        """-> (the content without what has problems, {table: list of (index in the file, row)}). References and masks
        can be looked at only in rows of the right form, so that what is left is checked again."""
        places = {table: range(len(content[table])) for table in self._tables()}
        problems = self._problems
        while any(problem.fatal for problem in problems):
            rows = _without_orphans(content, sound_rows(content, problems, places))
            places = {table: [places[table][i] for i, _ in kept] for table, kept in rows.items()}
            content = {table: [row for _, row in kept] for table, kept in rows.items()}
            problems = [problem for problem in check_ytvis(content) if content.get(problem.where) != []]
            # What is not fatal comes again each time.
            self._problems = list(dict.fromkeys([*self._problems, *(in_file(found, places) for found in problems)]))
        return content, {table: list(zip(places[table], content[table])) for table in places}

    def _box(self, i, row, t, size, findings):
        mask = row["segmentations"][t]
        mask = with_area(mask) if isinstance(mask, list) else mask
        x, y, width, height = mask_box(mask, size) if mask else (0, 0, 0, 0)
        where = f"annotations[{i}].segmentations[{t}]"
        if not width or not height:
            findings.add("mask empty", where, f"track {row['id']}, frame {t} of video {row['video_id']}")
            return None
        return CheckedBox(where, (x, y, x + width, y + height), self._names[row["category_id"]], row["id"],
                          bool(row.get("iscrowd", 0)), mask)


def _title(video):
    folder = os.path.dirname(video["file_names"][0])
    return f"{video['id']} ({folder})" if folder else str(video["id"])


def _without_orphans(content, rows):
    """rows: those of the content that are sound. -> without the annotations of a video or class that is left out: the
    problem is not theirs."""
    if "annotations" not in rows:
        return rows
    gone = {}
    for name, table in (("video_id", "videos"), ("category_id", "categories")):
        kept = {row["id"] for _, row in rows[table]}
        ids = [row.get("id") for row in content[table] if isinstance(row, dict)]
        gone[name] = [key for key in ids if isinstance(key, int) and key not in kept]
    return {**rows, "annotations": [(i, row) for i, row in rows["annotations"]
                                    if not any(row[name] in ids for name, ids in gone.items())]}
