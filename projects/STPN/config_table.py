#!/usr/bin/env python3
"""All configurations with their numbers of parameters, as Markdown: what configs/README.md holds.

    config_table.py > configs/README.md

The first sentence of a configuration's first comment says what it is; a line that begins with "Paper:", which row of
the paper it is and, where we have it, the paper's figure. Parameters are counted on models without memory.
"""

import argparse
import json

import stpn  # noqa: F401  first: it says in one sentence if detectron2 is missing

# isort: split
import torch

from stpn.engine.config_file import PROJECT, flatten_config, load_config
from stpn.engine.model import build_model
from stpn.errors import run_script

CONFIGS = PROJECT / "configs"
TABLE5 = {"stride": (1, 2, 4, 16, 32), "frames": (1, 3, 5, 9, 11), "prompts": (3, 5, 9, 11, 13)}
# Title -> patterns of file names, in the order of the rows.
SECTIONS = {
    "Faster R-CNN (Table 2, Figures 4 and 5)":
        [f"{kind}_vid_swin{size}*.yaml" for size in "tsbl" for kind in ("baseline", "stpn")],
    "SELSA (Table 2)": [f"{kind}_vid_swin{size}*.yaml" for size in "tb" for kind in ("selsa", "stpn_selsa")],
    "Table 5: one number of stpn_vid_swint.yaml (S = 8, K = 7 a side, N_P = 7) changed":
        [f"vid_table5/{kind}_{n}.yaml" for kind, values in TABLE5.items() for n in values],
    "Video instance segmentation, MinVIS (Table 3)":
        [f"{kind}_{data}_swin{size}.yaml" for data in ("ytvis19", "ytvis21", "ovis") for size in "tl"
         for kind in ("baseline", "stpn")],
    "Object tracking, MixFormer (Table 4)":
        [f"{kind}_got10k_{x}{stage}.yaml" for x in ("cvt21", "cvt21_1k", "cvtw24") for stage in ("", "_score")
         for kind in ("baseline", "stpn")],
    "The generated toy set, and a handful of real snippets": ["toy/baseline.yaml", "toy/s*.yaml", "vid_mini*.yaml"],
    "The same, video instance segmentation": ["toy/vis_baseline.yaml", "toy/vis_s*.yaml", "ytvis_mini*.yaml"],
    "The same, object tracking": ["toy/vot_baseline*.yaml", "toy/vot_s*.yaml", "got10k_mini*.yaml"],
}  # fmt: skip
# Title -> what is said below its rows.
NOTES = {
    "Object tracking, MixFormer (Table 4)":
        "Pairs match by the same `SEED` too (0 in all of these): what no weights fill starts from it, and the samples "
        "are drawn by it.\nWith another, give it to both arms and both stages: `SEED 1`.",
}
HEAD = """# Configurations

Written by `projects/STPN/config_table.py`; every line is a file here. `base*.yaml` hold what others share and are not
run themselves. **All figures are the paper's** unless they are said to be others': none of the rows on ImageNet VID,
YouTube-VIS, OVIS and GOT-10k has been trained here. "Not copied here": the figure stands in the paper, and we do not
have it at hand. Matched baselines differ from their rows by `MODEL.STPN.ENABLED` alone (a tracker's second stage starts
from its own first one, too); most have no row in the paper.
"""


_counted = {}  # model's configuration -> what count_parameters returns


def count_parameters(path):
    """-> {"backbone": number of parameters, ...} of the parts of the model that a configuration describes."""
    cfg = load_config(str(path), ["MODEL.DEVICE", "meta", "MODEL.WEIGHTS", ""])
    model = json.dumps(flatten_config(cfg.MODEL))
    if model not in _counted:
        with torch.device("meta"):
            parts = build_model(cfg).named_children()
        _counted[model] = {name: sum(p.numel() for p in part.parameters()) for name, part in parts}
    return _counted[model]


def read_comment(path):
    """-> (first sentence, what the paper has or "")."""
    lines = [line[1:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    paper = [line.removeprefix("Paper: ") for line in lines if line.startswith("Paper: ")]
    text = " ".join(line for line in lines if not line.startswith(("Paper: ", "Start")))
    return text.split(". ")[0].rstrip("."), "".join(paper).rstrip(".")


def table():
    """-> the whole page."""
    parts = [HEAD]
    for title, patterns in SECTIONS.items():
        parts.append(f"\n## {title}\n\n| configuration | | parameters | paper |\n|---|---|---|---|\n")
        for path in [path for pattern in patterns for path in sorted(CONFIGS.glob(pattern))]:
            number, (what, paper) = sum(count_parameters(path).values()), read_comment(path)
            name = path.relative_to(CONFIGS).as_posix()
            row = f"| `{name}` | {what} | {number:,} ({number / 1e6:.2f}M) | {paper} |\n"
            parts.append(row.replace("*", "\\*"))
        parts.append(f"\n{NOTES[title]}\n" if title in NOTES else "")
    return "".join(parts)


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(table(), end="")


if __name__ == "__main__":
    run_script(main)
