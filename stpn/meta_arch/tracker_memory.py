"""What a tracker remembers: templates that follow the target's looks, and the supports of its prompts."""

import torch

from ..crops import crop_square
from ..prompting import SupportCache, embed_support
from .clip import shrink

# What predicts the prompts: search regions of past frames encoded once more without prompts (equation 1), their
# features as tracking made them, or the templates, which cost nothing more.
SOURCES = ("memory", "prompted_memory", "templates")


class OnlineTemplates:
    """The first template, which stays, and those taken from confident frames (MixFormer's on-line templates).

    encoded: Templates of the encoder, the same object until they change.
    """

    def __init__(self, model, image, box):
        self._model, self._settings = model, model.settings
        self._first = self._crop(image, box)
        self._online, self._oldest = [self._first], 0
        self._begin_window()
        self._encode()

    def see(self, t, image, box, score):
        """After frame t: keep it if it is the surest since the last update, and update when it is time."""
        if score is None:
            return
        self._best_score *= self._settings.score_decay
        if score > max(self._settings.update_score, self._best_score):
            self._best_score, self._best = score, self._crop(image, box)
        if t % self._settings.update_interval == 0:
            self._update()

    def _update(self):
        """Append the best crop; when all places are taken, it replaces the oldest. A window without a confident frame
        gives the first template, as published."""
        if len(self._online) < self._settings.online_templates:
            self._online.append(self._best)
        else:
            self._online[self._oldest] = self._best
            self._oldest = (self._oldest + 1) % len(self._online)
        self._begin_window()
        self._encode()

    def _begin_window(self):
        self._best_score, self._best = -1.0, self._first

    @torch.no_grad()
    def _encode(self):
        crops = torch.stack([self._first, *self._online])
        self.encoded = self._model.backbone.embed_templates(self._model.clips([crops]))

    def _crop(self, image, box):
        settings = self._settings
        crop, _ = crop_square(image, box, factor=settings.template_factor, size=settings.template_size)
        return torch.from_numpy(crop).permute(2, 0, 1)


class SupportMemory:
    """The supports of one target and the prompts that they predict; bounded by the sampler's reach and frame 0."""

    def __init__(self, model):
        self._model, self._source, self._sampler = model, model.support_source, model.sampler
        self._cache = SupportCache()
        self._known = self._prompts = None

    def wants(self, t):
        """Is frame t a support of later frames?"""
        off = self._model.prompt_predictor is None or self._source == "templates"
        return not off and self._sampler.serves(t)

    def remember(self, t, search, features, templates):
        """search: (1, 3, S, S) region of frame t, normalised; features: (1, C, h, w) that tracking made of it, None in
        the first frame; templates: those that tracking had."""
        if self._source == "prompted_memory" and features is not None:
            embedding = features[0].permute(1, 2, 0)
        else:
            region = shrink(search[0], self._model.support_resize)[None, None]
            embedding = embed_support(self._model.backbone, region, templates=templates)[0, 0]
        self._cache.put(t, embedding)
        self._cache.forget(t - self._sampler.reach_back, keep=(0,) if self._sampler.keep_first else ())

    def prompts(self, t, templates):
        """-> prompts for frame t, None for the baseline; predicted anew only where the supports have changed."""
        if self._model.prompt_predictor is None:
            return None
        support = templates if self._source == "templates" else self._cache.window(self._sampler.test(t))
        if support is not self._known:
            tokens = template_tokens(templates) if support is templates else support
            self._known, self._prompts = support, self._model.prompt_predictor(tokens)
        return self._prompts


def template_tokens(templates):
    """Templates -> (B, n, h, w, C), the form of supports."""
    return templates.maps.permute(0, 1, 3, 4, 2)
