"""Video instance segmentation: prompted encoder, Mask2Former's head on every frame, tracks by query embeddings.

Without prompts it is MinVIS (arXiv 2208.02245): nothing in it is trained on more than one frame.
"""

import itertools

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from detectron2.structures import BitMasks, Instances

from ..heads import MaskStore, TrackMemory, build_criterion, build_mask2former_head, encode_mask, resize_masks
from .prompted import PromptedStream


@META_ARCH_REGISTRY.register()
class VideoInstanceSegmenter(PromptedStream):
    """STPN with Mask2Former's head; without a prompt_predictor it is the plain baseline, MinVIS.

    Training: a list of dicts (stpn.data.instance_mapper): "image" (3, H, W), "support_images" (K, 3, H', W'),
        "instances" with gt_classes and gt_masks (BitMasks) of that frame, perhaps none -> dict of losses.
    Testing: a list of videos, each {"frames": ...} as support_stream takes them -> for each video what segment returns.
    """

    @configurable
    def __init__(self, *, sem_seg_head, criterion, max_tracks, window_size, score_horizon, **prompting):
        """max_tracks: results of a video; window_size: frames that pass the network together; score_horizon: frames
        over which a stream's scores look back, 0: all. prompting: see PromptedModel."""
        super().__init__(**prompting)
        for key, value, least in (("MAX_TRACKS", max_tracks, 1), ("WINDOW_SIZE", window_size, 1),
                                  ("SCORE_HORIZON", score_horizon, 0)):
            if value < least:
                raise ValueError(f"TEST.{key} is {value}; expected at least {least}")
        self.sem_seg_head = sem_seg_head
        self.criterion = criterion
        self.max_tracks = max_tracks
        self.window_size = window_size
        self.score_horizon = score_horizon

    @classmethod
    def from_config(cls, cfg):
        backbone = build_backbone(cfg)
        return {
            # The head first: one seed gives it the same weights with and without a predictor.
            "sem_seg_head": build_mask2former_head(cfg, backbone.output_shape()), "criterion": build_criterion(cfg),
            "max_tracks": cfg.TEST.MAX_TRACKS, "window_size": cfg.TEST.WINDOW_SIZE,
            "score_horizon": cfg.TEST.SCORE_HORIZON,
            **cls.prompting_config(cfg, backbone),
        }

    def forward(self, batched_inputs):
        if not self.training:
            return [self.segment(video["frames"]) for video in batched_inputs]
        images = self.images([x["image"] for x in batched_inputs])
        prompts = self.training_prompts(batched_inputs)  # stage 1
        features = self.backbone(images.tensor, prompts=prompts)  # stage 2
        return self.criterion(self.sem_seg_head(features), self._targets(batched_inputs, images.tensor.shape[-2:]))

    def stream(self, frames, sampler=None, window=None):
        """Yield (t, item, Instances) for each frame of one video, on line; memory does not grow with its length.

        frames: as in support_stream; its items are dicts {"image": (3, h, w) uint8, "height", "width"}, where
        height and width are the original frame's. Instances, on the CPU and of that size: pred_masks (n, H, W) bool,
        pred_boxes around them, pred_ids, scores and pred_classes of at most max_tracks tracks that the frame shows,
        each with its likeliest class by the last score_horizon frames or so: an object that comes late is not held
        against the frames without it. FloatingPointError if scores are not finite.
        sampler: SupportSampler instead of the model's own, for this video only. window: frames that pass the
        network together, instead of window_size; what is yielded does not depend on it.
        """
        memory = TrackMemory(self.score_horizon)
        for t, (item, padded, found) in enumerate(self._walk(frames, sampler, window)):
            masks = found["pred_masks"][memory.add(found["pred_logits"], found["pred_embeds"])]
            scores, classes = memory.scores().max(-1)
            shown = (masks > 0).flatten(1).any(1)  # a mask that is nowhere positive is empty in the frame's size, too
            best = torch.where(shown, scores, -1.0).topk(min(self.max_tracks, int(shown.sum()))).indices
            masks = self._full_size(masks[best], item, padded)
            yield t, item, _visible(masks.cpu(), scores[best].cpu(), classes[best].cpu(), best.cpu())

    def segment(self, frames, sampler=None, window=None):
        """One whole video, as YouTube-VIS asks for it; arguments as in stream.

        -> {"image_size": (H, W) of the first frame, "pred_scores": n numbers, falling, "pred_labels": n classes,
            "pred_ids": n track numbers, "pred_masks": n lists with the COCO RLE of each frame in its original size,
            None where the track is not seen}
        A result is a pair of a track and a class, scored by the mean of the frames' logits; a track can be in several.
        Memory: the results; masks wait in a file until it is known which are wanted (heads/mask_store.py).
        """
        memory, shapes = TrackMemory(), []
        with MaskStore() as store:
            for item, padded, found in self._walk(frames, sampler, window):
                store.append(found["pred_masks"][memory.add(found["pred_logits"], found["pred_embeds"])])
                shapes.append((padded, tuple(item["image"].shape[-2:]), (item["height"], item["width"])))
            if not shapes:
                raise ValueError("a video without frames cannot be segmented; expected at least one")
            scores = memory.scores().cpu()
            best = scores.flatten().topk(min(self.max_tracks, scores.numel()))
            ids, labels = (best.indices // scores.shape[1]).tolist(), (best.indices % scores.shape[1]).tolist()
            masks = {row: [self._encoded(store.read(t, row), shape) for t, shape in enumerate(shapes)]
                     for row in dict.fromkeys(ids)}
        return {"image_size": shapes[0][-1], "pred_scores": best.values.tolist(), "pred_labels": labels,
                "pred_ids": ids, "pred_masks": [masks[row] for row in ids]}

    def _targets(self, batched_inputs, padded):
        """-> for each sample {"labels": (n,), "masks": (n, H', W') bool} with zeros below and right of the image."""
        targets = []
        for instances in (x["instances"].to(self.device) for x in batched_inputs):
            masks = instances.gt_masks.tensor
            whole = masks.new_zeros((len(masks), *padded))
            whole[:, :masks.shape[1], :masks.shape[2]] = masks
            targets.append({"labels": instances.gt_classes, "masks": whole})
        return targets

    def _walk(self, frames, sampler, window):
        """Yield (item, padded size, predictions of the frame) in order, window frames a time."""
        for pairs in _windows(self.prompted(frames, sampler), window or self.window_size):
            padded, found = self._predict(*zip(*pairs, strict=True))
            for i, (item, _) in enumerate(pairs):
                yield item, padded, {name: values[i] for name, values in found.items()}

    @torch.no_grad()
    def _predict(self, items, prompts):
        """Frames of one size, each with its prompts or all with None -> padded size (H', W'), and what the head
        returns for them as a batch."""
        images = self.images([item["image"] for item in items]).tensor
        prompts = None if prompts[0] is None else [torch.cat(layer) for layer in zip(*prompts, strict=True)]
        return tuple(images.shape[-2:]), self.sem_seg_head(self.backbone(images, prompts=prompts))

    def _full_size(self, masks, item, padded):
        size, frame = tuple(item["image"].shape[-2:]), (item["height"], item["width"])
        return resize_masks(masks, padded=padded, size=size, frame=frame)

    def _encoded(self, mask, shape):
        if mask is None:
            return None
        padded, size, frame = shape
        return encode_mask(resize_masks(mask[None].to(self.device), padded=padded, size=size, frame=frame)[0].cpu())


def _windows(pairs, count):
    """(item, prompts) pairs -> lists of up to count of them in a row, of frames of one size."""
    for _, same in itertools.groupby(pairs, key=lambda pair: (pair[0]["image"].shape, _prompt_shape(pair[1]))):
        while window := list(itertools.islice(same, count)):
            yield window


def _prompt_shape(prompts):
    return prompts and prompts[0].shape


def _visible(masks, scores, classes, ids):
    """-> Instances of the tracks that have a pixel in the frame, best first."""
    seen = masks.flatten(1).any(1)
    masks = masks[seen]
    return Instances(tuple(masks.shape[1:]), pred_masks=masks, pred_boxes=BitMasks(masks).get_bounding_boxes(),
                     scores=scores[seen], pred_classes=classes[seen], pred_ids=ids[seen])
