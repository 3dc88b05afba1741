"""Whole detectors of mmdetection's kind, converted, against a plain rewrite of what they compute.

The rewrite follows the public definitions (Swin, VPT's prepended prompts, FPN, RPN, RoIAlign, SELSA) and uses the
source's own names, order of channels and box stds. Sizes are tiny, names and shapes are the source's.
"""

import math
from pathlib import Path

import pytest
import safetensors
import torch
import torch.nn.functional as F
from load_script import load_script

from stpn.data.datasets.imagenet_vid import CLASSES as IMAGENET_VID
from stpn.engine.checkpoint import load_weights, read_checkpoint
from stpn.engine.config_file import load_config
from stpn.engine.model import build_model
from stpn.errors import run_script

ROOT = Path(__file__).parents[2]
WIDTH, DEPTHS, HEADS, M, OUT, FC, CLASSES = 16, (2, 1, 2, 1), (1, 2, 4, 8), 7, 12, 32, 3
BEST = 40  # proposals of a level; with more, those of the lowest are all that is left in the end
MEAN, STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
SIZES = ["MODEL.SWIN.EMBED_DIM", WIDTH, "MODEL.SWIN.DEPTHS", DEPTHS, "MODEL.SWIN.NUM_HEADS", HEADS,
         "MODEL.RPN.PRE_NMS_TOPK_TEST", BEST, "MODEL.FPN.OUT_CHANNELS", OUT,
         "MODEL.ROI_BOX_HEAD.FC_DIM", FC, "MODEL.ROI_HEADS.NUM_CLASSES", CLASSES]
PLAIN = [*SIZES, "MODEL.STPN.ENABLED", False]
RELEASED = [*SIZES, "MODEL.SWIN.PROMPT_MERGE", "released", "MODEL.STPN.NUM_PROMPTS", 5,
            "MODEL.STPN.PREDICTOR.NAME", "ReleasedAttentionPredictor", "MODEL.STPN.PREDICTOR.NUM_HEADS", 4]
TOPK = [*RELEASED, "MODEL.STPN.PREDICTOR.NAME", "ReleasedTopKPredictor"]
SELSA = ["MODEL.META_ARCHITECTURE", "SelsaDetector", "MODEL.ROI_HEADS.NAME", "SelsaROIHeads",
         "MODEL.ROI_BOX_HEAD.NAME", "SelsaBoxHead", "INPUT.SELSA.TRAIN_FRAMES", 2, "MODEL.SELSA.NUM_HEADS", 4]


# ---- the source's names and shapes ---------------------------------------------------------------


def swin_shapes():
    shapes = {"patch_embed.projection": (WIDTH, 3, 4, 4), "patch_embed.norm": (WIDTH,)}
    for i, depth in enumerate(DEPTHS):
        c = WIDTH * 2 ** i
        for j in range(depth):
            block = f"stages.{i}.blocks.{j}."
            shapes |= {f"{block}norm1": (c,), f"{block}attn.w_msa.qkv": (3 * c, c), f"{block}attn.w_msa.proj": (c, c),
                       f"{block}norm2": (c,), f"{block}ffn.layers.0.0": (4 * c, c), f"{block}ffn.layers.1": (c, 4 * c)}
        shapes[f"norm{i}"] = (c,)
        if i < 3:
            shapes[f"stages.{i}.downsample.norm"] = (4 * c,)
            shapes[f"stages.{i}.downsample.reduction"] = (2 * c, 4 * c)
    return {f"backbone.{name}": shape for name, shape in shapes.items()}


def head_shapes(classes=CLASSES, selsa=False):
    shapes = {f"neck.lateral_convs.{i}.conv": (OUT, WIDTH * 2 ** i, 1, 1) for i in range(4)}
    shapes |= {f"neck.fpn_convs.{i}.conv": (OUT, OUT, 3, 3) for i in range(4)}
    shapes |= {"rpn_head.rpn_conv": (OUT, OUT, 3, 3), "rpn_head.rpn_cls": (3, OUT, 1, 1),
               "rpn_head.rpn_reg": (12, OUT, 1, 1)}
    box = {"fc_cls": (classes + 1, FC), "fc_reg": (4 * classes, FC), "shared_fcs.0": (FC, OUT * 49),
           "shared_fcs.1": (FC, FC)}
    for i in range(2 * selsa):
        box |= {f"aggregator.{i}.{name}": (FC, FC) for name in ("fc_embed", "ref_fc_embed", "fc", "ref_fc")}
    return shapes | {f"roi_head.bbox_head.{name}": shape for name, shape in box.items()}


def predictor_shapes(attention=True):
    names = ["fc_embed", "ref_fc_embed", "ref_fc", "fc"] if attention else []
    layers = {"reduction": (WIDTH, 8 * WIDTH), **dict.fromkeys(names, (WIDTH, WIDTH))}
    return {f"prompt_predictor.{name}": shape for name, shape in layers.items()}


def random_source(shapes, query=False):
    """Layers -> {name: tensor} in scales that keep signals alive, and the buffers that mmdetection stores."""
    g = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in shapes.items():
        fan_in = math.prod(shape[1:])
        weight = torch.randn(shape, generator=g)
        weights[f"{name}.weight"] = weight / fan_in ** 0.5 if len(shape) > 1 else 1 + 0.2 * weight
        if not name.endswith("reduction") or "prompt" in name:
            weights[f"{name}.bias"] = 0.2 * torch.randn(shape[0], generator=g)
        if name.endswith("w_msa.proj"):
            attn = name.removesuffix("proj")
            heads = HEADS[int(name.split(".")[2])]
            weights[f"{attn}relative_position_bias_table"] = torch.randn((2 * M - 1) ** 2, heads, generator=g)
            weights[f"{attn}relative_position_index"] = position_index()
    for name, factor in (("rpn_head.rpn_cls", 3), ("rpn_head.rpn_reg", 0.3), ("roi_head.bbox_head.fc_cls", 1.5)):
        if f"{name}.weight" in weights:
            weights[f"{name}.weight"] *= factor
    if query:
        weights["prompt_predictor.query"] = torch.randn(5, WIDTH, generator=g)
    return weights


def released(weights):
    """The names in the authors' checkpoints."""
    return {name if name.startswith("prompt_predictor.") else f"detector.{name}": v for name, v in weights.items()}


# ---- the plain rewrite ---------------------------------------------------------------------------


def layer(w, name, x, **options):
    weight, bias = w[f"{name}.weight"], w.get(f"{name}.bias")
    if weight.dim() == 4:
        return F.conv2d(x, weight, bias, **options)
    return F.linear(x, weight, bias) if weight.dim() == 2 else F.layer_norm(x, weight.shape, weight, bias)


def position_index():
    cells = [(r, c) for r in range(M) for c in range(M)]
    return torch.tensor([[(r - s + M - 1) * (2 * M - 1) + c - d + M - 1 for s, d in cells] for r, c in cells])


def attention(w, name, x, p, heads, shift):
    """x (H, W, C), p (P, C), normalised -> the same, one window after the other; prompts: the windows' mean."""
    (H, W, C), P = x.shape, len(p)
    x = F.pad(x, (0, 0, 0, -W % M, 0, -H % M))
    region = torch.zeros(x.shape[:2])
    if shift:
        for i, rows in enumerate((slice(0, -M), slice(-M, -shift), slice(-shift, None))):
            for j, columns in enumerate((slice(0, -M), slice(-M, -shift), slice(-shift, None))):
                region[rows, columns] = 3 * i + j
        x = torch.roll(x, (-shift, -shift), (0, 1))
    bias = w[f"{name}relative_position_bias_table"][position_index()].permute(2, 0, 1)
    out, prompts = torch.zeros_like(x), []
    for r in range(0, x.shape[0], M):
        for c in range(0, x.shape[1], M):
            tokens = torch.cat([p, x[r:r + M, c:c + M].reshape(-1, C)])
            q, k, v = layer(w, f"{name}qkv", tokens).reshape(len(tokens), 3, heads, -1).permute(1, 2, 0, 3)
            logits = q @ k.transpose(1, 2) * (C // heads) ** -0.5
            cell = region[r:r + M, c:c + M].flatten()
            logits[:, P:, P:] += bias - 100.0 * (cell[:, None] != cell)
            y = layer(w, f"{name}proj", (logits.softmax(-1) @ v).transpose(0, 1).flatten(1))
            prompts.append(y[:P])
            out[r:r + M, c:c + M] = y[P:].view(M, M, C)
    out = torch.roll(out, (shift, shift), (0, 1)) if shift else out
    return out[:H, :W], torch.stack(prompts).mean(0)


def block(w, name, x, p, heads, shift):
    """x (H, W, C), p (P, C) -> the same."""
    both = attention(w, f"{name}attn.w_msa.", layer(w, f"{name}norm1", x), layer(w, f"{name}norm1", p), heads, shift)
    for tokens, attended in zip((x, p), both):
        tokens = tokens + attended
        hidden = F.gelu(layer(w, f"{name}ffn.layers.0.0", layer(w, f"{name}norm2", tokens)))
        yield tokens + layer(w, f"{name}ffn.layers.1", hidden)


def swin(w, image, prompts=None):
    """(3, H, W) -> four maps (1, C, h, w); prompts (P, WIDTH) are prepended, merged by four equal copies, dropped."""
    x = layer(w, "backbone.patch_embed.projection", image[None], stride=4)[0].permute(1, 2, 0)
    x = layer(w, "backbone.patch_embed.norm", x)
    p = image.new_zeros(0, WIDTH) if prompts is None else prompts
    maps = []
    for i, depth in enumerate(DEPTHS):
        for j in range(depth):
            x, p = block(w, f"backbone.stages.{i}.blocks.{j}.", x, p, HEADS[i], M // 2 * (j % 2))
        maps.append(layer(w, f"backbone.norm{i}", x).permute(2, 0, 1)[None])
        if i < 3:
            name = f"backbone.stages.{i}.downsample."
            x = F.pad(x, (0, 0, 0, x.shape[1] % 2, 0, x.shape[0] % 2)).permute(2, 0, 1)[None]
            size = [side // 2 for side in x.shape[-2:]]
            x = F.unfold(x, 2, stride=2)[0].T  # channel by channel, four pixels each
            x, p = (layer(w, f"{name}reduction", layer(w, f"{name}norm", y)) for y in (x, torch.cat([p] * 4, 1)))
            x = x.view(*size, -1)
    return maps


def predict_prompts(w, maps, heads=4):
    """Last maps of support frames [(1, C, h, w)] -> (5, WIDTH), by either published predictor."""
    w = {name.removeprefix("prompt_predictor."): v for name, v in w.items()}
    tokens = [m[0].flatten(1).T for m in maps]
    if "query" not in w:
        top = [t[t.abs().sum(1).argsort(descending=True)[:5]] for t in tokens]
        return layer(w, "reduction", torch.stack(top).mean(0))
    tokens = layer(w, "reduction", torch.cat(tokens))
    q, k, v = layer(w, "fc_embed", w["query"]), layer(w, "ref_fc_embed", tokens), layer(w, "ref_fc", tokens)
    q, k, v = (y.view(len(y), heads, -1).transpose(0, 1) for y in (q, k, v))
    out = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1) @ v
    return layer(w, "fc", out.transpose(0, 1).flatten(1))


def pyramid(w, maps):
    levels = [layer(w, f"neck.lateral_convs.{i}.conv", y) for i, y in enumerate(maps)]
    for i in (3, 2, 1):
        levels[i - 1] = levels[i - 1] + F.interpolate(levels[i], levels[i - 1].shape[-2:], mode="nearest")
    levels = [layer(w, f"neck.fpn_convs.{i}.conv", y, padding=1) for i, y in enumerate(levels)]
    return [*levels, F.max_pool2d(levels[-1], 1, stride=2)]


def move(boxes, deltas, size):
    """Boxes (N, 4) moved by dx, dy, dw, dh and clipped to the image (height, width)."""
    limit = math.log(1000 / 16)
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    x = (boxes[:, 0] + boxes[:, 2]) / 2 + deltas[:, 0] * w
    y = (boxes[:, 1] + boxes[:, 3]) / 2 + deltas[:, 1] * h
    w, h = w * deltas[:, 2].clamp(-limit, limit).exp(), h * deltas[:, 3].clamp(-limit, limit).exp()
    moved = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)
    return torch.stack([moved[:, i].clamp(0, size[1 - i % 2]) for i in range(4)], 1)


def suppress(boxes, scores, threshold):
    """Greedy: indices of the boxes that no better kept one overlaps by more than threshold, best first."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order, kept = scores.argsort(descending=True), []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        overlap = (torch.minimum(boxes[best, 2:], boxes[order, 2:])
                   - torch.maximum(boxes[best, :2], boxes[order, :2])).clamp(min=0).prod(1)
        order = order[overlap / (area[best] + area[order] - overlap) <= threshold]
    return torch.tensor(kept, dtype=torch.long)


def propose(w, levels, size):
    boxes, scores = [], []
    for i, level in enumerate(levels):
        stride, hidden = 4 * 2 ** i, layer(w, "rpn_head.rpn_conv", level, padding=1).relu()
        objectness = layer(w, "rpn_head.rpn_cls", hidden)[0].permute(1, 2, 0).flatten().sigmoid()
        deltas = layer(w, "rpn_head.rpn_reg", hidden)[0].permute(1, 2, 0).reshape(-1, 4)
        anchors = []
        for y in range(level.shape[2]):
            for x in range(level.shape[3]):
                for ratio in (0.5, 1.0, 2.0):  # height / width
                    half_w, half_h = 4 * stride / ratio ** 0.5, 4 * stride * ratio ** 0.5
                    anchors.append((x * stride - half_w, y * stride - half_h, x * stride + half_w, y * stride + half_h))
        best = objectness.argsort(descending=True)[:BEST]
        found = move(torch.tensor(anchors)[best], deltas[best], size)
        whole = ((found[:, 2:] - found[:, :2]) > 0).all(1)
        found, objectness = found[whole], objectness[best][whole]
        kept = suppress(found, objectness, 0.7)
        boxes.append(found[kept])
        scores.append(objectness[kept])
    return torch.cat(boxes)[torch.cat(scores).argsort(descending=True)[:300]]


def sample_weights(start, length, side):
    """RoIAlign is separable: (7, side) weights of the cells that the 7 bins of [start, start + length] average."""
    count = max(1, math.ceil(length / 7))
    at = start + (torch.arange(7 * count) + 0.5) * length / (7 * count)
    inside = (at >= -1) & (at <= side)
    at = at.clamp(0, side - 1)
    low = at.floor().long()
    high, part = (low + 1).clamp(max=side - 1), at - low
    weights = torch.zeros(len(at), side)
    weights[torch.arange(len(at)), low] += 1 - part
    weights[torch.arange(len(at)), high] += part
    return (weights * inside[:, None]).view(7, count, side).mean(1)


def pool(levels, boxes):
    """RoIAlign 7x7 (aligned), each box on the level of its size (56 pixels and below: the first) -> (N, OUT * 49)."""
    pooled = []
    for x1, y1, x2, y2 in boxes.tolist():
        level = math.floor(math.log2(math.sqrt((x2 - x1) * (y2 - y1)) / 56 + 1e-6))
        level = min(max(level, 0), 3)
        grid, scale = levels[level][0], 1 / (4 * 2 ** level)
        rows = sample_weights(y1 * scale - 0.5, (y2 - y1) * scale, grid.shape[1])
        columns = sample_weights(x1 * scale - 0.5, (x2 - x1) * scale, grid.shape[2])
        pooled.append((rows.to(grid) @ grid @ columns.to(grid).T).flatten())
    return torch.stack(pooled)


def aggregate(w, i, x, r, heads):
    name = f"roi_head.bbox_head.aggregator.{i}."
    q, k, v = layer(w, f"{name}fc_embed", x), layer(w, f"{name}ref_fc_embed", r), layer(w, f"{name}ref_fc", r)
    q, k, v = (y.view(len(y), heads, -1).transpose(0, 1) for y in (q, k, v))
    out = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1) @ v
    return layer(w, f"{name}fc", out.transpose(0, 1).flatten(1))


def shared_layers(w, x, r=None, heads=4):
    """Pooled proposals and, for SELSA, those of the support frames -> (N, FC)."""
    for i in range(2):
        name = f"roi_head.bbox_head.shared_fcs.{i}"
        x = layer(w, name, x)
        if r is not None:
            r = layer(w, name, r)
            x, r = x + aggregate(w, i, x, r, heads), r.relu()
        x = x.relu()
    return x


@torch.no_grad()
def detect(w, image, stds, *, selsa=False):
    """uint8 (3, H, W), a video of one frame -> boxes, scores, classes of at most 100 objects."""
    size = image.shape[1:]
    x = (image.to(w["backbone.norm3.bias"]) - MEAN[:, None, None]) / STD[:, None, None]
    x = F.pad(x, (0, -size[1] % 32, 0, -size[0] % 32))
    prompts = predict_prompts(w, swin(w, x)[3:]) if "prompt_predictor.reduction.weight" in w else None
    levels = pyramid(w, swin(w, x, prompts))
    proposals = propose(w, levels, size)
    pooled = pool(levels, proposals)
    hidden = shared_layers(w, pooled, pooled if selsa else None)
    scores = layer(w, "roi_head.bbox_head.fc_cls", hidden).softmax(1)
    deltas = layer(w, "roi_head.bbox_head.fc_reg", hidden).view(len(hidden), -1, 4) * torch.tensor(stds)
    found = []
    for label in range(scores.shape[1] - 1):
        boxes, own = move(proposals, deltas[:, label], size), scores[:, label]
        boxes, own = boxes[own > 1e-4], own[own > 1e-4]
        kept = suppress(boxes, own, 0.5)
        found += [(score, label, box) for score, box in zip(own[kept].tolist(), boxes[kept])]
    found = sorted(found, key=lambda item: -item[0])[:100]
    return torch.stack([f[2] for f in found]), torch.tensor([f[0] for f in found]), torch.tensor([f[1] for f in found])


# ---- the command ---------------------------------------------------------------------------------


@pytest.fixture
def convert(tmp_path, capsys):
    """convert(weights or file content, overrides, *options) -> (exit code, output text, file)."""
    path = ROOT / "projects" / "STPN" / "convert_weights.py"
    script = load_script(path)

    def run(source, overrides, *options):
        file, output = tmp_path / "source.pth", tmp_path / "ours.safetensors"
        output.unlink(missing_ok=True)
        torch.save(source if "state_dict" in source else {"state_dict": source, "meta": {"epoch": 9}}, file)
        with pytest.raises(SystemExit) as end:
            run_script(lambda: script.main(["--config-file", str(ROOT / "configs" / "stpn_vid_swint.yaml"), str(file),
                                            str(output), *options, *map(str, overrides)]))
        return end.value.code, "".join(capsys.readouterr()), output

    return run


def loaded(file, overrides):
    cfg = load_config(ROOT / "configs" / "stpn_vid_swint.yaml", ["MODEL.DEVICE", "cpu", *overrides])
    model = build_model(cfg).eval()
    report = load_weights(model, file)  # all of the model, as for evaluation
    assert not (report.missing or report.unexpected or report.mismatched)
    return model


class Frame:
    """A video of one frame, which is its own support."""

    length = 1

    def __init__(self, image):
        self.item = {"image": image, "height": image.shape[1], "width": image.shape[2]}

    def __iter__(self):
        return iter([self.item])

    def select(self, indices):
        return (self.item for _ in indices)


def picture():
    return torch.randint(256, (3, 248, 250), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def assert_same_detections(model, w, stds, *, selsa=False):
    """As sets: every object of one has its equal among the other's, of the same class. Scores to 1e-5, boxes to 5e-4
    pixels: single precision leaves 1e-4 pixels of an anchor of 512."""
    boxes, scores, labels = detect({name: v.double() for name, v in w.items()}, picture(), stds, selsa=selsa)
    with torch.no_grad():
        ((found,),) = model([{"frames": Frame(picture())}])
    assert len(found) == len(boxes) > 50 and len(set(labels.tolist())) > 1
    assert found.pred_boxes.area().max() ** 0.5 > 2 * 56  # more than one level of the pyramid is read
    distance = (found.pred_boxes.tensor[:, None] - boxes[None]).abs().amax(2)
    distance[found.pred_classes[:, None] != labels[None]] = math.inf
    nearest, match = distance.min(1)
    assert sorted(match.tolist()) == list(range(len(boxes))) and nearest.max() < 5e-4
    torch.testing.assert_close(found.scores, scores[match], atol=1e-5, rtol=0)


MASK_HEAD = {"roi_head.mask_head.convs.0.conv.weight": torch.zeros(2, 2, 3, 3),
             "roi_head.mask_head.upsample.bias": torch.zeros(2)}


@pytest.mark.parametrize("stds", [(0.1, 0.1, 0.2, 0.2), (0.2, 0.2, 0.2, 0.2), (0.05, 0.1, 0.15, 0.3)])
def test_a_faster_rcnn_of_mmdetection_finds_the_same_objects(convert, stds):
    w = random_source(swin_shapes() | head_shapes())
    options = () if stds == (0.1, 0.1, 0.2, 0.2) else ("--box-stds", *map(str, stds))
    code, text, file = convert({**w, **MASK_HEAD}, PLAIN, "--part", "model", *options)
    assert code == 0, text
    assert ("nothing to rescale" if stds == (0.2,) * 4 else "box regression rescaled") in text
    assert "skipped 2, the configured model has no such part: " + ", ".join(MASK_HEAD) in text
    assert "skipped 6, follow from the window size: backbone.stages.0" in text
    assert "every output finite" in text
    assert_same_detections(loaded(file, PLAIN), w, stds)


def test_box_stds_of_the_configuration_in_the_file_count(convert):
    w = random_source(swin_shapes() | head_shapes())
    stored = ("rpn_head=dict(bbox_coder=dict(target_stds=[1.0, 1.0, 1.0, 1.0]))\n"
              "bbox_head=dict(bbox_coder=dict(target_stds=[0.05, 0.1, 0.15, 0.3]))")
    code, text, file = convert({"state_dict": w, "meta": {"config": stored}}, PLAIN, "--part", "model")
    assert code == 0 and "box stds 0.05 0.1 0.15 0.3 (the configuration stored in the file)" in text
    scale = torch.tensor([0.25, 0.5, 0.75, 1.5]).repeat(CLASSES)
    with safetensors.safe_open(file, "pt") as content:
        ours = content.get_tensor("roi_heads.box_predictor.bbox_pred.bias")
    torch.testing.assert_close(ours, w["roi_head.bbox_head.fc_reg.bias"] * scale)


def test_class_names_in_the_file_are_compared_with_the_data_sets(convert):
    w = random_source(swin_shapes() | head_shapes(classes=30))
    overrides = [*PLAIN, "MODEL.ROI_HEADS.NUM_CLASSES", 30]
    names = list(IMAGENET_VID.values())
    for classes, expected in (
        (names, None),
        ([names[1], names[0], *names[2:]], "class names differ in 2 of 30 places: class 0 is 'antelope' in the file"),
        ([], "the file names no classes"),
    ):
        source = {"state_dict": w, "meta": {"CLASSES": tuple(classes)}}
        code, text, _ = convert(source, overrides, "--part", "model")
        assert code == 0 and (expected in text if expected else "class names" not in text and "names no" not in text)
    code, text, _ = convert({"state_dict": random_source(swin_shapes() | head_shapes()),
                             "meta": {"CLASSES": ("cat", "dog", "cow")}}, PLAIN, "--part", "model")
    assert code == 0 and "the file's classes, in order: cat, dog, cow" in text


def test_the_lists_of_names_are_complete(monkeypatch):
    """In full size they hold as many numbers as the published models: Swin-T, 30 classes, 5 prompts; SELSA's share."""
    for name, value in {"WIDTH": 96, "DEPTHS": (2, 2, 6, 2), "HEADS": (3, 6, 12, 24), "OUT": 256, "FC": 1024}.items():
        monkeypatch.setitem(globals(), name, value)
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: torch.empty(*shape, device="meta"))
    count = lambda shapes, **options: sum(  # noqa: E731
        v.numel() for n, v in random_source(shapes, **options).items() if not n.endswith("index"))
    detector = swin_shapes() | head_shapes(classes=30)
    assert count(detector) == 44_895_072
    assert count(detector | predictor_shapes(), query=True) == 44_895_072 + 111_552
    assert count(detector | predictor_shapes(attention=False)) == 44_895_072 + 73_824
    assert count(swin_shapes() | head_shapes(classes=30, selsa=True)) == 44_895_072 + 8_396_800


@pytest.mark.parametrize("attention", [True, False], ids=["att", "avg"])
def test_a_released_stpn_detector_finds_the_same_objects(convert, attention):
    shapes = swin_shapes() | head_shapes() | predictor_shapes(attention)
    w, overrides = random_source(shapes, query=attention), RELEASED if attention else TOPK
    code, text, file = convert(released(w), overrides)
    assert code == 0 and ": stpn, " in text and "converted" in text and "(usual for stpn" in text, text
    assert "INPUT.SUPPORT.TEST_POLICY spread" in text
    assert_same_detections(loaded(file, overrides), w, (0.2,) * 4)


def test_a_released_stpn_detector_with_selsa_finds_the_same_objects(convert):
    w = random_source(swin_shapes() | head_shapes(selsa=True) | predictor_shapes(), query=True)
    code, text, file = convert(released(w), RELEASED + SELSA)
    assert code == 0, text
    # The only support frame is the frame itself; its proposals are there twice, which changes no average.
    assert_same_detections(loaded(file, RELEASED + SELSA), w, (0.2,) * 4, selsa=True)


def test_selsa_without_prompts_aggregates_the_same_proposals(convert):
    w = random_source(swin_shapes() | head_shapes(selsa=True))
    overrides = PLAIN + SELSA
    code, text, file = convert(released(w), overrides, "--part", "model")
    assert code == 0 and ": mmdet, " in text, text
    head = loaded(file, overrides).roi_heads.box_head
    x, r = torch.randn(5, OUT, 7, 7), torch.randn(11, OUT, 7, 7)
    with torch.no_grad():
        torch.testing.assert_close(head(x, head.support(r)), shared_layers(w, x.flatten(1), r.flatten(1)),
                                   atol=1e-5, rtol=1e-5)


def test_recorded_selsa_head_gives_its_recorded_outputs(convert, fixtures_dir):
    recorded = read_checkpoint(fixtures_dir / "vod" / "selsa" / "head_c8_r7_fc64_g4.pt")
    assert recorded["cfg"]["roi_feat_size"] == 7
    w = random_source(swin_shapes() | head_shapes(selsa=True))
    for i in range(4):  # a pyramid of the width that the recorded head takes
        w[f"neck.lateral_convs.{i}.conv.weight"] = w[f"neck.lateral_convs.{i}.conv.weight"][:8]
        w[f"neck.fpn_convs.{i}.conv.weight"] = w[f"neck.fpn_convs.{i}.conv.weight"][:8, :8]
        w[f"neck.lateral_convs.{i}.conv.bias"] = w[f"neck.fpn_convs.{i}.conv.bias"] = torch.zeros(8)
    for name in ("rpn_conv", "rpn_cls", "rpn_reg"):
        w[f"rpn_head.{name}.weight"] = w[f"rpn_head.{name}.weight"][:, :8]
    w["rpn_head.rpn_conv.weight"], w["rpn_head.rpn_conv.bias"] = w["rpn_head.rpn_conv.weight"][:8], torch.zeros(8)
    w |= {f"roi_head.bbox_head.{name}": value for name, value in recorded["state_dict"].items()}
    overrides = [*PLAIN, *SELSA, "MODEL.FPN.OUT_CHANNELS", 8, "MODEL.ROI_BOX_HEAD.FC_DIM", 64,
                 "MODEL.ROI_HEADS.NUM_CLASSES", 30]
    stds = ["--box-stds", "0.2", "0.2", "0.2", "0.2"]  # the config's: the outputs are to be compared as they are
    code, text, file = convert(released(w), overrides, "--part", "model", *stds)
    assert code == 0, text
    heads = loaded(file, overrides).roi_heads
    with torch.no_grad():
        scores, deltas = heads.box_predictor(heads.box_head(recorded["x"], heads.box_head.support(recorded["ref_x"])))
    torch.testing.assert_close(scores, recorded["cls_score"], atol=1e-4, rtol=0)
    torch.testing.assert_close(deltas, recorded["bbox_pred"], atol=1e-4, rtol=0)


def test_recorded_released_backbone_and_predictor_give_their_recorded_outputs(convert, fixtures_dir):
    recorded = read_checkpoint(fixtures_dir / "prompting" / "shallow_att.pt")
    w = random_source(head_shapes())
    w |= {f"backbone.{name}": v for name, v in recorded["backbone_state_dict"].items()}
    w |= {f"prompt_predictor.{name}": v for name, v in recorded["predictor_state_dict"].items()}
    overrides = [*RELEASED, "MODEL.SWIN.DEPTHS", recorded["meta"]["depths"],
                 "MODEL.STPN.PREDICTOR.NUM_HEADS", recorded["predictor_num_heads"]]
    code, text, file = convert(released(w), overrides)
    assert code == 0, text
    model = loaded(file, overrides)
    with torch.no_grad():
        for case in recorded["cases"]:
            support = model.backbone(case["ref"])["res5"].permute(0, 2, 3, 1)[None]
            prompts = model.prompt_predictor(support)
            torch.testing.assert_close(prompts[0][0], case["prompt"], atol=1e-4, rtol=0)
            for ours, theirs in zip(model.backbone(case["x"], prompts).values(), case["outs"], strict=True):
                torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("prefix", ["", "backbone.", "detector.backbone."])
def test_mmdetections_swin_alone_gives_the_same_maps(convert, prefix):
    w = random_source(swin_shapes())
    code, text, file = convert({name.replace("backbone.", prefix): v for name, v in w.items()}, SIZES)
    assert code == 0 and "converted 99 tensors: backbone" in text, text
    cfg = load_config(ROOT / "configs" / "stpn_vid_swint.yaml", ["MODEL.DEVICE", "cpu", *SIZES])
    model = build_model(cfg).eval()
    report = load_weights(model, file, scope="parts")
    assert report.fresh == ["neck", "prompt_predictor", "proposal_generator", "roi_heads"]
    image = torch.randn(3, 100, 76)
    with torch.no_grad():
        for ours, theirs in zip(model.backbone(image[None]).values(), swin(w, image), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_training_starts_from_the_encoder_alone_of_a_whole_detector(convert):
    """The paper's recipe: neck, RPN and heads start fresh, whether the file is converted before or not."""
    w = random_source(swin_shapes() | head_shapes())
    code, text, file = convert(w, SIZES)
    assert code == 0 and "converted 99 tensors: backbone" in text
    skipped = next(line for line in text.splitlines() if "not of the encoder (--part model" in line)
    assert all(name in skipped for name in w if not name.startswith("backbone."))
    cfg = load_config(ROOT / "configs" / "stpn_vid_swint.yaml", ["MODEL.DEVICE", "cpu", *PLAIN])
    for source in (file, {"state_dict": w}):
        model = build_model(cfg)
        before = {name: v.clone() for name, v in model.state_dict().items()}
        report = load_weights(model, source, scope="parts")
        assert report.fresh == ["neck", "proposal_generator", "roi_heads"]
        after = model.state_dict()
        assert all(torch.equal(after[name], before[name]) for name in after if not name.startswith("backbone."))
        assert not torch.equal(after["backbone.norm3.bias"], before["backbone.norm3.bias"])


def same(w):
    return w


def without(*parts):
    return lambda w: {name: v for name, v in w.items() if not any(part in name for part in parts)}


def and_also(**more):
    return lambda w: {**w, **more}


def aggregating(_):
    return random_source(swin_shapes() | head_shapes(selsa=True) | predictor_shapes(), query=True)


REFUSED = {  # case: (what is changed in the file, overrides, what the line says)
    "another merge order": (same, ["MODEL.SWIN.PROMPT_MERGE", "vpt"], "add: MODEL.SWIN.PROMPT_MERGE released"),
    "another predictor": (same, ["MODEL.STPN.PREDICTOR.NAME", "ReleasedTopKPredictor"],
                          "add: MODEL.STPN.PREDICTOR.NAME ReleasedAttentionPredictor"),
    "another number of prompts": (same, ["MODEL.STPN.NUM_PROMPTS", 7], "add: MODEL.STPN.NUM_PROMPTS 5"),
    "the baseline": (same, ["MODEL.STPN.ENABLED", False], "add: MODEL.STPN.ENABLED True"),
    "no prompts in the file": (without("predictor"), [], "add: MODEL.STPN.ENABLED False"),
    "selsa into a config without": (aggregating, [],
                                    "add: MODEL.META_ARCHITECTURE SelsaDetector MODEL.ROI_HEADS.NAME SelsaROIHeads "
                                    "MODEL.ROI_BOX_HEAD.NAME SelsaBoxHead INPUT.SELSA.TRAIN_FRAMES 2"),
    "a plain head into selsa": (same, SELSA, "add: MODEL.META_ARCHITECTURE VideoObjectDetector"),
    "another number of classes": (same, ["MODEL.ROI_HEADS.NUM_CLASSES", 30], "add: MODEL.ROI_HEADS.NUM_CLASSES 3"),
    "another pyramid": (same, ["MODEL.FPN.OUT_CHANNELS", 16], "add: MODEL.FPN.OUT_CHANNELS 12"),
    "deeper stages": (same, ["MODEL.SWIN.DEPTHS", (2, 1, 6, 1)], 'add: MODEL.SWIN.DEPTHS "[2, 1, 2, 1]"'),
    "anchors of several sizes": (same, ["MODEL.ANCHOR_GENERATOR.SIZES", [[32, 64]]], "one size a level"),
    "a cascade": (lambda w: {n.replace("bbox_head.", "bbox_head.0."): v for n, v in w.items()}, [], "a cascade"),
    "the deep variant": (and_also(**{"backbone.stages.2.predictor.reduction.weight": torch.zeros(64, 64)}), [],
                         "deep variant"),
    "an encoder alone": (without("neck", "rpn", "roi"), [], "take --part backbone"),
    "half a head": (without("shared_fcs.1", "rpn_reg"), ["MODEL.ROI_BOX_HEAD.NUM_FC", 1],
                    "missing: proposal_generator.rpn_head.anchor_deltas.weight"),
    "normalised pyramid": (and_also(**{"neck.fpn_convs.0.gn.weight": torch.ones(12)}), [],
                           "gives other results without them: neck.fpn_convs.0.gn.weight"),
    "learnt prompts": (and_also(**{"backbone.prompt_embeddings": torch.ones(1, 5, 16)}), [],
                       "without them: backbone.prompt_embeddings"),
    "two scores an anchor": (and_also(**{"rpn_head.rpn_cls.weight": torch.ones(6, OUT, 1, 1)}), [],
                             "objectness_logits.weight [6, 12, 1, 1] for [3, 12, 1, 1]"),
    "infinite outputs": (lambda w: {n: v * 1e25 if "neck." in n else v for n, v in w.items()}, [],
                         "outputs of the neck are not finite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line_and_nothing_is_written(convert, case):
    change, overrides, expected = REFUSED[case]
    w = random_source(swin_shapes() | head_shapes() | predictor_shapes(), query=True)
    code, text, file = convert(released(change(w)), RELEASED + overrides, "--part", "model")
    assert code == 2 and text.count("\n") == 1 and expected in text and "source.pth" in text, text
    assert sorted(path.name for path in file.parent.iterdir()) == ["source.pth"]
