"""What an encoder must offer so that any task can prompt it."""

from detectron2.modeling import Backbone


class PromptableBackbone(Backbone):
    """A detectron2 backbone that takes video prompts.

    forward(images, prompts=None) -> {"res2": (B, C, h, w), ...}
        images: (B, 3, H, W) float, normalised.
        prompts: None, or a sequence of (B, P, c_l): one tensor (shallow: inserted once, before the first
        layer) or one per layer (deep: replaced at every layer). P is free. Prompts are removed from the output.

    prompt_widths: widths c_l that the L layers expect; the first is that of shallow prompts.
    embed_feature: name of the output that embed_support returns; embed_width: its channels.
    """

    embed_feature = "res5"
    embed_width = 0
    prompt_widths = ()

    def check_prompts(self, prompts, batch):
        """Raise ValueError unless prompts fit this encoder and the batch; -> prompts as a tuple, or None."""
        if prompts is None:
            return None
        prompts, widths = tuple(prompts), self.prompt_widths
        if len(prompts) not in (1, len(widths)):
            raise ValueError(f"got {len(prompts)} prompt tensors; expected 1 (shallow) or {len(widths)} "
                             "(deep, one per layer): build the predictor with this backbone's prompt_widths")
        for layer, (prompt, width) in enumerate(zip(prompts, widths)):
            if prompt.dim() != 3 or prompt.shape[0] != batch or prompt.shape[2] != width:
                raise ValueError(f"prompt {layer} has shape {tuple(prompt.shape)}; expected "
                                 f"({batch}, P, {width}): one set of prompts for each image of the batch")
        return prompts
