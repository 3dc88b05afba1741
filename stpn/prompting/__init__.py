"""STPN's idea, without any task, data set or encoder in it.

    support  = embed_support(backbone, clips)                         # stage 1: support frames, no prompts
    features = backbone(images, prompts=prompt_predictor(support))    # stage 2: prompted current frame

- sampling.py   SupportSampler: which frames support frame t; PastSampler: those of a tracker
- embedding.py  embed_support: their last-stage embeddings; SupportCache: one video's embeddings
- predictor.py  embeddings -> prompts: TransformerPredictor, MixerPredictor, the authors' two, and a constant one
- stream.py     support_stream: walks a video, each frame with its support, memory bounded;
                PromptedFrames: the same with each frame's prompts
"""

from .embedding import SupportCache, embed_support, evaluating
from .predictor import (
                        PROMPT_PREDICTOR_REGISTRY,
                        ConstantPredictor,
                        MixerPredictor,
                        PromptPredictor,
                        ReleasedAttentionPredictor,
                        ReleasedTopKPredictor,
                        TransformerPredictor,
                        build_prompt_predictor,
)
from .sampling import PastSampler, SupportSampler
from .stream import PromptedFrames, support_stream

__all__ = ["PROMPT_PREDICTOR_REGISTRY", "ConstantPredictor", "MixerPredictor", "PastSampler", "PromptPredictor",
           "PromptedFrames", "ReleasedAttentionPredictor", "ReleasedTopKPredictor", "SupportCache", "SupportSampler",
           "TransformerPredictor", "build_prompt_predictor", "embed_support", "evaluating", "support_stream"]
