"""What is in the pictures of the toy set's report, and what they do not show."""

CAPTIONS = {
    "compare": """
        Left the labels, in the middle the baseline ("against"), right STPN ("model"). Looked at, until there were these
        examples: {videos} videos with {frames} deteriorated frames. In {model} of the frames STPN alone finds what the
        other misses, in {against} the baseline.""",
    "grad_cam": """
        The frames shown above under boxes. Top: STPN's surest detection, right or wrong. Below: where the features
        of stage res4 speak for its class in that box, for the baseline ("against") and for STPN ("model"). Each map is
        scaled to its own largest value: compare places, and logits, not colours.""",
    "support_reading": """
        `{video_id}`, frame {frame}, with 2 support frames a side. A row for each prompt, a column for each support
        frame, with the share of the prompt's attention that this frame has; red where most of it lies. Attention says
        what is read, not what it is good for.""",
    "prompt_reading": """
        `{video_id}`, frame {frame}, with 2 support frames a side. A row for the last block of each stage of the
        encoder, a column for each prompt, with the share of the patches' attention that it has, least to most; red
        where patches read it most.""",
    "embed": """
        t-SNE of what the box head makes of the labelled objects: a point is an object in a frame, its colour its class.
        Left the baseline, right STPN, the same objects in both. The number is the silhouette of the features themselves
        by class (1: classes far apart, 0: mixed up); trust it more than the map, which keeps no distances.""",
}


def caption(key, **values):
    """-> one line of text."""
    return " ".join(CAPTIONS[key].format(**values).split())
