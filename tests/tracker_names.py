"""The names and shapes in the published files of CvT and MixFormer, written out, and random weights under them."""

import torch

CVT21 = {"widths": (64, 192, 384), "depths": (1, 4, 16)}
TINY = {"widths": (16, 32, 64), "depths": (1, 2, 3)}
COUNTER = "num_batches_tracked"


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear(name, inputs, outputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def batch_norm(name, width, *, counter=False):
    measured = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,)}
    return {**norm(name, width), **measured, **({f"{name}.{COUNTER}": ()} if counter else {})}


def cvt_block(name, width, *, counter):
    shapes = norm(f"{name}.norm1", width)
    for x in "qkv":
        shapes |= {f"{name}.attn.conv_proj_{x}.conv.weight": (width, 1, 3, 3)}
        shapes |= batch_norm(f"{name}.attn.conv_proj_{x}.bn", width, counter=counter)
        shapes |= linear(f"{name}.attn.proj_{x}", width, width)
    shapes |= linear(f"{name}.attn.proj", width, width) | norm(f"{name}.norm2", width)
    return shapes | linear(f"{name}.mlp.fc1", width, 4 * width) | linear(f"{name}.mlp.fc2", 4 * width, width)


def cvt_shapes(widths, depths, *, classifier=True):
    """Microsoft's classifier; without: MixFormer's backbone, which has no class token and no counters."""
    shapes, before = {}, 3
    for i, (width, depth, kernel) in enumerate(zip(widths, depths, (7, 3, 3))):
        shapes |= {f"stage{i}.patch_embed.proj.weight": (width, before, kernel, kernel),
                   f"stage{i}.patch_embed.proj.bias": (width,)} | norm(f"stage{i}.patch_embed.norm", width)
        if classifier and i == 2:
            shapes |= {"stage2.cls_token": (1, 1, width)}
        for j in range(depth):
            shapes |= cvt_block(f"stage{i}.blocks.{j}", width, counter=classifier)
        before = width
    return shapes | norm("norm", before) | linear("head", before, 1000)


def corner_shapes(width, channels):
    shapes = {}
    for corner in ("tl", "br"):
        before = width
        for i, after in enumerate((channels, channels // 2, channels // 4, channels // 8), 1):
            shapes |= {f"conv{i}_{corner}.0.weight": (after, before, 3, 3), f"conv{i}_{corner}.0.bias": (after,)}
            shapes |= batch_norm(f"conv{i}_{corner}.1", after)
            before = after
        shapes |= {f"conv5_{corner}.weight": (1, before, 1, 1), f"conv5_{corner}.bias": (1,)}
    return shapes


def score_shapes(width):
    shapes = {"score_token": (1, 1, width)} | norm("norm1", width)
    for i in range(2):
        shapes |= norm(f"norm2.{i}", width)
        for name in ("proj_q", "proj_k", "proj_v", "proj"):
            shapes |= linear(f"{name}.{i}", width, width)
    for i, outputs in enumerate((width, width, 1)):
        shapes |= linear(f"score_head.layers.{i}", width, outputs)
    return shapes


def mixformer_shapes(widths, depths, *, channels, score=True):
    parts = {"backbone": cvt_shapes(widths, depths, classifier=False), "box_head": corner_shapes(widths[-1], channels)}
    if score:
        parts["score_branch"] = score_shapes(widths[-1])
    return {f"{part}.{name}": shape for part, shapes in parts.items() for name, shape in shapes.items()}


def random_weights(shapes, seed=0):
    """Tame enough for every output to be finite."""
    generator, weights = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes.items():
        if name.endswith(COUNTER):
            weights[name] = torch.tensor(100)
            continue
        value = torch.randn(shape, generator=generator)
        fan = value[0].numel() if value.dim() > 1 else 1
        weights[name] = value / fan ** 0.5 if value.dim() > 1 else 0.1 * value
        if name.endswith("running_var") or value.dim() == 1 and name.endswith("weight"):
            weights[name] = 1 + 0.1 * value.abs()
    return weights
