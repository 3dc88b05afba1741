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


class _OneSize(Dataset):
    """Whole videos. Reading a frame of another size than its video's is an InputError: the labels are in the pixels of
    that one, so results would be compared with those of another picture."""

    def __init__(self, samples, video_index, *, prepare):
        """samples: dicts without "frames"; prepare: Frame -> item."""
        self._samples, self._index, self._prepare = samples, video_index, prepare
        self.lengths = [sample["length"] for sample in self._samples]

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, i):
        sample = self._samples[i]
        return {**sample, "frames": self._index.reader(sample["video_id"],
                                                       prepare=functools.partial(self._item, sample))}

    def _item(self, sample, frame):
        refuse_other_size(sample, frame.index, self._index.path(sample["video_id"], frame.index), frame.image.shape[:2])
        return self._prepare(frame)


class WholeVideos(_OneSize):
    """The videos of a set of video instance segmentation, in its order. A sample is {"video_id", "json_id": its id in
    the JSON, "frames": reader of prepared frames, "length": frames, "height", "width": pixels}."""

    def __init__(self, dicts, video_index, *, prepare):
        """dicts: one a video; prepare: Frame -> item."""
        samples = [{key: video[key] for key in ("video_id", "json_id", "length", "height", "width")} for video in dicts]
        super().__init__(samples, video_index, prepare=prepare)


class WholeSequences(_OneSize):
    """The sequences of a tracking set, in its order. A sample is {"video_id", "name", "frames": reader of prepared
    frames, "box": [x, y, w, h] of frame 0 in pixels, "length": frames, "height", "width": pixels}."""

    def __init__(self, dicts, video_index, *, prepare):
        """dicts: one a sequence; prepare: Frame -> item."""
        samples = [{"box": record["boxes"][0].tolist(), "length": record["video_length"],
                    **{key: record[key] for key in ("video_id", "name", "height", "width")}} for record in dicts]
        super().__init__(samples, video_index, prepare=prepare)


def refuse_other_size(video, t, path, size):
    """InputError when the picture at `path`, frame t, has another size (H, W) than its video. video: dict with
    video_id, height, width; json_id where a JSON file says the size."""
    if tuple(size) != (video["height"], video["width"]):
        says = "the JSON says" if "json_id" in video else "the labels are for"
        correct = "the JSON" if "json_id" in video else "meta_info.ini (if there is one)"
        raise InputError(f"{path} (frame {t} of {video['video_id']}) is {size[1]}x{size[0]} pixels, but {says} "
                         f"{video['width']}x{video['height']} for its video; correct {correct} or the picture")
