"""Masks of all queries of one video, kept until it is known which of them are its results."""

import tempfile

import numpy as np
import torch

_MARGIN = 2  # cells around a mask; see _crop
_LARGEST = 6e4  # that half precision holds


class MaskStore:
    """Low-resolution mask logits frame by frame, in half precision, in a temporary file.

    What is on disk is what can be seen: of each mask the part around its positive logits. Memory holds some numbers a
    mask. Context manager: the file goes with the block. 100 queries of 120x216 cells take at most 5.2 MB a frame;
    videos of ours took 4 to 47% of the most. The file lies in TMPDIR, which should be a disk: where it is memory, so
    is the file.
    """

    def __init__(self):
        self._file = tempfile.TemporaryFile(prefix="stpn_masks_")
        self._frames = []  # of each: (h, w), and an array of (row, place in the file, y, x, height, width)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def __len__(self):
        return len(self._frames)

    def append(self, masks):
        """masks: (Q, h, w) logits of the next frame, in track order."""
        masks = masks.clamp(-_LARGEST, _LARGEST).half().cpu()
        positive = masks > 0
        seen = positive.flatten(1).any(1).nonzero().flatten().tolist()
        places = [(row, *self._write(masks[row], positive[row])) for row in seen]
        self._frames.append((tuple(masks.shape[1:]), np.array(places, np.int64).reshape(-1, 6)))

    def read(self, t, row):
        """-> (h, w) float32 logits of a track in frame t, negative where they are not kept; None for an empty mask."""
        (h, w), places = self._frames[t]
        found = places[places[:, 0] == row]
        if not len(found):
            return None
        _, place, y, x, height, width = found[0].tolist()
        self._file.seek(place)
        part = np.frombuffer(self._file.read(2 * height * width), np.float16).reshape(height, width)
        mask = torch.full((h, w), -1.0)
        mask[y:y + height, x:x + width] = torch.from_numpy(part.astype(np.float32))
        return mask

    def _write(self, mask, positive):
        y, height = _crop(positive.any(1))
        x, width = _crop(positive.any(0))
        place = self._file.seek(0, 2)
        try:
            self._file.write(mask[y:y + height, x:x + width].contiguous().numpy().tobytes())
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror} in {tempfile.gettempdir()}, where masks wait "
                                       f"({place >> 20} MB so far); let TMPDIR name a folder with room") from None
        return place, y, x, height, width


def _crop(occupied):
    """(n,) bool -> first index and number of those kept: the occupied ones and a margin.

    Resizing a mask bilinearly, twice (to the padded image, then to the original frame), makes a pixel positive only
    within one cell of a positive one, and every logit that counts there lies within two.
    """
    indices = occupied.nonzero().flatten()
    first = max(0, int(indices[0]) - _MARGIN)
    return first, min(len(occupied), int(indices[-1]) + _MARGIN + 1) - first
