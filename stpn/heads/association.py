"""Tracks without training: the same query embedding in the next frame is the same object (MinVIS, arXiv 2208.02245).

Q queries, C width, K classes.
"""

import math

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment


def match_embeddings(previous, current):
    """previous, current: (Q, C) embeddings of two frames -> (Q,) int64: row i of previous goes on as row order[i] of
    current. Of all one-to-one assignments that with the largest sum of cosine similarities."""
    similarity = F.normalize(previous.float(), dim=1) @ F.normalize(current.float(), dim=1).T
    cost = 1 - torch.nan_to_num(similarity, nan=-1.0)  # scipy refuses what is no number
    return torch.from_numpy(linear_sum_assignment(cost.cpu().numpy())[1])


class TrackMemory:
    """The state of one video's tracks: the last frame's embeddings in track order, and the mean of the class logits.

    Track i starts as query i of the first frame and is there in every frame: tracks are neither born nor end, a
    hidden object has an empty mask. Its size does not depend on the length of the video.

    horizon: frames over which the mean looks back, the weight of a frame falling to 1/e over it; 0: all frames alike.
    """

    def __init__(self, horizon=0):
        self._embeds = None
        self._logits = 0
        self._weight = 0
        self._keep = math.exp(-1 / horizon) if horizon else 1.0
        self._frames = 0

    def add(self, logits, embeds):
        """Next frame: logits (Q, K + 1), embeds (Q, C). -> (Q,) int64: its query of each track.

        FloatingPointError if a logit is not finite: such scores would vanish without a word."""
        if not torch.isfinite(logits).all():
            raise FloatingPointError(f"frame {self._frames}: class scores are not finite; check the weights, or "
                                     "compute in float32")
        order = torch.arange(len(embeds)) if self._embeds is None else match_embeddings(self._embeds, embeds)
        self._embeds = embeds[order]
        self._logits = self._keep * self._logits + logits[order].float()
        self._weight = self._keep * self._weight + 1
        self._frames += 1
        return order

    def scores(self):
        """-> (Q, K): probability of each class, from the mean logits of the frames so far."""
        return (self._logits / self._weight).softmax(-1)[:, :-1]
