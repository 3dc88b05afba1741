"""Stage 1 of STPN: support frames through the encoder without prompts, and what is kept of them."""

import torch
import torch.nn.functional as F


def embed_support(backbone, clips, *, grad=False):
    """Last-stage embeddings of support frames.

    backbone: a PromptableBackbone. clips: (B, K, 3, H, W) float, normalised.
    -> (B, K, h, w, C), channels last, after the stage's LayerNorm.

    It is a measurement of the support frames: the encoder's randomness (stochastic depth) is off in the pass,
    and it has no gradient unless grad.
    """
    B, K = clips.shape[:2]
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    try:
        with torch.set_grad_enabled(grad and torch.is_grad_enabled()):
            maps = backbone(clips.flatten(0, 1))[backbone.embed_feature]
    finally:
        # Each submodule gets its own mode back: a frozen part may have been in eval mode on purpose.
        for module, mode in modes:
            module.training = mode
    return maps.permute(0, 2, 3, 1).unflatten(0, (B, K))


class SupportCache:
    """Embeddings of one video's support frames by frame index; it lives and dies with one walk of the video.

    Memory is bounded by the sampler's reach: `forget` drops what no later frame can ask for.
    """

    def __init__(self):
        self._maps = {}
        self._window = None, None

    def __len__(self):
        return len(self._maps)

    def put(self, index, embedding):
        """embedding: (h, w, C)."""
        self._maps[index] = embedding

    def forget(self, before):
        """Drop the frames with a smaller index than before."""
        for index in [i for i in self._maps if i < before]:
            del self._maps[index]

    def window(self, indices):
        """(1, K, h, w, C); the same tensor object as last time when the indices are the same, so that a caller
        knows without comparing that its prompts still hold.

        Where the resolution changed in mid-stream, maps are resampled to the size of the window's last.
        """
        if self._window[0] != tuple(indices):
            maps = [self._maps[i] for i in indices]
            maps = [m if m.shape == maps[-1].shape else _resample(m, maps[-1].shape) for m in maps]
            self._window = tuple(indices), torch.stack(maps)[None]
        return self._window[1]


def _resample(embedding, shape):
    """(h, w, C) -> shape, bilinear."""
    grown = F.interpolate(embedding.permute(2, 0, 1)[None], shape[:2], mode="bilinear", align_corners=False)
    return grown[0].permute(1, 2, 0)
