"""Stage 1 of STPN: support frames through the encoder without prompts, and what is kept of them."""

import contextlib

import torch
import torch.nn.functional as F


@contextlib.contextmanager
def evaluating(module):
    """Inside, module and its submodules are in eval mode; then each has its own mode back, since a frozen part
    may have been in eval mode on purpose."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def embed_support(backbone, clips, *, grad=False, **context):
    """Last-stage embeddings of support frames.

    backbone: a PromptableBackbone. clips: (B, K, 3, H, W) float, normalised. context: what else the encoder takes with
    B * K images (a tracker's templates).
    -> (B, K, h, w, C), channels last, after the stage's LayerNorm.

    It is a measurement of the support frames: the encoder's randomness (stochastic depth) is off in the pass,
    and it has no gradient unless grad.
    """
    B, K = clips.shape[:2]
    with evaluating(backbone), torch.set_grad_enabled(grad and torch.is_grad_enabled()):
        maps = backbone(clips.flatten(0, 1), **context)[backbone.embed_feature]
    return maps.permute(0, 2, 3, 1).unflatten(0, (B, K))


def stack_maps(maps):
    """Maps (h, w, C) of K frames -> (1, K, h, w, C).

    Where the resolution changed in mid-stream, maps are resampled to the size of the last.
    """
    return torch.stack([m if m.shape == maps[-1].shape else _resample(m, maps[-1].shape) for m in maps])[None]


class SupportCache:
    """Embeddings of one video's support frames by frame index; it lives and dies with one walk of the video.

    join: list of embeddings -> what the frames of a window give together.
    Memory is bounded by the sampler's reach: `forget` drops what no later frame can ask for.
    """

    def __init__(self, join=stack_maps):
        self._join = join
        self._embeddings = {}
        self._window = None, None

    def __len__(self):
        return len(self._embeddings)

    def put(self, index, embedding):
        """embedding: (h, w, C), or whatever join takes."""
        self._embeddings[index] = embedding

    def forget(self, before, keep=()):
        """Drop the frames with a smaller index than before, but those in keep."""
        for index in [i for i in self._embeddings if i < before and i not in keep]:
            del self._embeddings[index]

    def window(self, indices):
        """The embeddings of these frames, joined; the same object as last time when the indices are the same, so
        that a caller knows without comparing that its prompts still hold."""
        if self._window[0] != tuple(indices):
            self._window = None, None  # the old one may go before the new one is made
            self._window = tuple(indices), self._join([self._embeddings[i] for i in indices])
        return self._window[1]


def _resample(embedding, shape):
    """(h, w, C) -> shape, bilinear."""
    grown = F.interpolate(embedding.permute(2, 0, 1)[None], shape[:2], mode="bilinear", align_corners=False)
    return grown[0].permute(1, 2, 0)
