"""The whole videos of a data set as test samples."""

import functools

from torch.utils.data import Dataset

from ..errors import InputError


class LabelledVideos(Dataset):
    """The videos of a set of labelled frames, in the order of its first frames, then those without a labelled frame.
    Unlabelled frames stay in the stream. A sample is {"video_id", "frames": reader of prepared frames, "image_ids": id
    of each frame or None where it is not labelled, "height", "width": pixels}."""

    def __init__(self, dicts, video_index, *, prepare):
        """dicts: one a labelled frame; prepare: Frame -> item."""
        self._videos, self._index, self._prepare = {}, video_index, prepare
        for sample in dicts:
            ids, _ = self._videos.setdefault(sample["video_id"], ({}, (sample["height"], sample["width"])))
            ids[sample["frame_index"]] = sample["image_id"]
        self._names = list(dict.fromkeys([*self._videos, *video_index]))
        self.lengths = [video_index.length(name) for name in self._names]

    def __len__(self):
        return len(self._names)

    def __getitem__(self, i):
        name = self._names[i]
        ids, (height, width) = self._videos.get(name) or ({}, self._index.read(name, 0).shape[:2])
        frames = self._index.reader(name, prepare=self._prepare)
        return {"video_id": name, "frames": frames, "image_ids": [ids.get(t) for t in range(self.lengths[i])],
                "height": height, "width": width}


class WholeVideos(Dataset):
    """The videos of a set of video instance segmentation, in its order. A sample is {"video_id", "json_id": its id in
    the JSON, "frames": reader of prepared frames, "length": frames, "height", "width": pixels}. Reading a frame of
    another size than its video's is an InputError: its masks would be compared with those of another picture."""

    def __init__(self, dicts, video_index, *, prepare):
        """dicts: one a video; prepare: Frame -> item."""
        self._samples = [{key: video[key] for key in ("video_id", "json_id", "length", "height", "width")}
                         for video in dicts]
        self._index, self._prepare = video_index, prepare
        self.lengths = [sample["length"] for sample in self._samples]

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, i):
        sample = self._samples[i]
        return {**sample, "frames": self._index.reader(sample["video_id"], prepare=functools.partial(
            self._item, sample["video_id"], (sample["height"], sample["width"])))}

    def _item(self, video_id, size, frame):
        refuse_other_size(video_id, frame.index, self._index.path(video_id, frame.index), frame.image.shape[:2], size)
        return self._prepare(frame)


def refuse_other_size(video_id, t, path, size, expected):
    """InputError when the picture at `path`, frame t, has another size than its video; sizes are (H, W)."""
    if tuple(size) != tuple(expected):
        raise InputError(f"{path} (frame {t} of {video_id}) is {size[1]}x{size[0]} pixels, but the JSON says "
                         f"{expected[1]}x{expected[0]} for its video; correct the JSON or the picture")
