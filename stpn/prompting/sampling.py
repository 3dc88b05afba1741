"""Which frames support the current one. Plain integers, no torch.

Letters: t the current frame, T (length) the number of frames, K frames_per_side, S stride.
"""

POLICIES = ("grid", "sliding", "spread", "causal", "own")


class SupportSampler:
    """Indices of the support frames of frame t, in training and in testing.

    Test policies (each returns a fixed number of indices; those outside the video are clamped to it):

    - grid     K multiples of S at or before t and the K multiples after it. They change only when t passes
               a multiple of S, so each support frame is embedded once and the prompts serve S frames.
    - sliding  t +- S*j, j = 1..K (the paper's text): every frame of the video is embedded as a support.
    - spread   2K frames (or spread_frames) spread evenly over the whole video, the same for all t (the released
               code).
    - causal   K multiples of S at or before t: never looks ahead, for live input and tracking.
    - own      t alone, in training, too: a control with all of the parameters and nothing of the neighbours.

    In a video of one frame that frame is its own support.

    share: (part, parts): where several samplers pick frames for different uses, spread takes every parts-th of a
    spread parts times as dense, so that they do not all look at the same frames; (0, 1) is a plain spread.
    """

    def __init__(self, *, policy="grid", frames_per_side=7, stride=8, train_frames=2, train_range=9,
                 spread_frames=None, share=(0, 1)):
        if policy not in POLICIES:
            raise ValueError(f"support policy {policy!r} is not known; expected one of {', '.join(POLICIES)}")
        for name, value in (("frames_per_side", frames_per_side), ("stride", stride),
                            ("train_frames", train_frames), ("train_range", train_range)):
            if int(value) != value or value < 1:
                raise ValueError(f"support {name} is {value}; expected a whole number of at least 1")
        self.policy = policy
        self.frames_per_side = frames_per_side
        self.stride = stride
        self.train_frames = train_frames
        self.train_range = train_range
        self.spread_frames = spread_frames or 2 * frames_per_side
        self.share = share
        if not (0 <= share[0] < share[1] and self.spread_frames > 0):
            raise ValueError(f"support share is {share} of {spread_frames} frames; expected a part of (0, 1), (0, 2), "
                             "(1, 2), ... and a number of frames that is not negative")

    @classmethod
    def from_config(cls, support, policy=None, share=(0, 1)):
        """support: the node cfg.INPUT.SUPPORT or INPUT.SELSA; policy: instead of its TEST_POLICY."""
        return cls(policy=policy or support.TEST_POLICY, frames_per_side=support.FRAMES_PER_SIDE,
                   stride=support.STRIDE, train_frames=support.TRAIN_FRAMES, train_range=support.TRAIN_RANGE,
                   spread_frames=support.SPREAD_FRAMES, share=share)

    def with_policy(self, policy):
        """-> SupportSampler like this one, with another test policy."""
        return SupportSampler(**{**vars(self), "policy": policy})

    def train(self, t, length, rng):
        """-> train_frames indices, half of them before t and half after (the odd one after), each side drawn
        without repetition from the train_range nearest frames as far as it has enough.

        rng: numpy.random.Generator. A side that the video does not have is drawn from the other, so t itself
        is returned only by a video of one frame (a still image), and under policy own.
        """
        if self.policy == "own":
            return [t] * self.train_frames
        before = list(range(max(0, t - self.train_range), t))
        after = list(range(t + 1, min(length, t + self.train_range + 1)))
        half = self.train_frames // 2
        chosen = _draw(before or after or [t], half, rng)
        return sorted(chosen + _draw(after or before or [t], self.train_frames - half, rng))

    def test(self, t, length=None):
        """-> list of indices in ascending order, repeated where the video ends.

        length None means that the end is further ahead than `look_ahead` (a stream still running).
        """
        K, S = self.frames_per_side, self.stride
        if self.policy == "own":
            return [t]
        if self.policy == "spread":
            return self._spread(length)
        if self.policy == "sliding":
            wanted = [t + S * j for j in range(-K, K + 1) if j]
            return _clamp(wanted, None if length is None else length - 1)
        base = t - t % S
        behind = range(base - S * (K - 1), base + 1, S)
        ahead = range(base + S, base + S * K + 1, S) if self.policy == "grid" else ()
        # Beyond the end the last multiple of S is repeated, not the last frame: it is embedded already.
        last = None if length is None else (length - 1) - (length - 1) % S
        return _clamp([*behind, *ahead], last)

    def _spread(self, length):
        if length is None:
            raise ValueError("policy 'spread' needs the length of the video; "
                             "use 'causal' (or 'grid') for a source without an end")
        part, parts = self.share
        count = self.spread_frames * parts
        return [round(i * (length - 1) / max(1, count - 1)) for i in range(part, count, parts)]

    @property
    def look_ahead(self):
        """Frames after t that must be at hand before t can be processed; None means the whole video."""
        return {"grid": self.frames_per_side * self.stride, "sliding": self.frames_per_side * self.stride,
                "causal": 0, "own": 0, "spread": None}[self.policy]

    @property
    def reach_back(self):
        """Frames before t that may still be wanted as supports."""
        return self.frames_per_side * self.stride

    def serves(self, i):
        """May frame i of a running stream be asked for as a support?"""
        return self.policy in ("sliding", "own") or i % self.stride == 0


class PastSampler:
    """Support frames of a tracker, which knows where its target was in past frames alone.

    - grid     (t - 1) // S = m; the K multiples S*m, S*(m - 1), ... that are there: they change only when t passes a
               multiple of S.
    - sliding  t - S*j, j = 1..K: every frame of the video is embedded as a support.

    keep_first: and frame 0, the only one whose box is known. Without a frame of these frame 0 is taken all the same.
    The authors published no tracker: with the future half left out, S and K keep their meaning of section 4.1.
    """

    policy = "causal"
    look_ahead = 0

    def __init__(self, *, frames=7, stride=8, train_frames=2, keep_first=True, anchor="grid"):
        for name, value in (("frames", frames), ("stride", stride), ("train_frames", train_frames)):
            if int(value) != value or value < 1:
                raise ValueError(f"support {name} is {value}; expected a whole number of at least 1")
        if anchor not in ("grid", "sliding"):
            raise ValueError(f"support anchor is {anchor!r}; expected grid or sliding")
        self.frames = frames
        self.stride = stride
        self.train_frames = train_frames
        self.keep_first = keep_first
        self.anchor = anchor

    @classmethod
    def from_config(cls, support):
        """support: the node cfg.INPUT.SUPPORT."""
        if support.TEST_POLICY != cls.policy:
            raise ValueError(f"INPUT.SUPPORT.TEST_POLICY is {support.TEST_POLICY!r}, but a tracker knows the past "
                             "alone; set it to causal")
        return cls(frames=support.FRAMES_PER_SIDE, stride=support.STRIDE, train_frames=support.TRAIN_FRAMES,
                   keep_first=support.KEEP_FIRST, anchor=support.ANCHOR)

    def train(self, t, length, *, after=False):
        """-> t - S*j for j = 1..train_frames, not below 0; after: t + S*j, not beyond the end, for a sample whose
        templates come later than its search frame."""
        steps = (self.stride * j for j in range(1, self.train_frames + 1))
        return [min(t + step, length - 1) if after else max(t - step, 0) for step in steps]

    def test(self, t, length=None):
        """-> ascending indices, all below t; none for frame 0. length does not count."""
        if t < 1:
            return []
        K, S = self.frames, self.stride
        newest = S * ((t - 1) // S) if self.anchor == "grid" else t - S
        wanted = {i for i in range(newest, newest - S * K, -S) if i >= 0}
        return sorted(wanted | {0} if self.keep_first or not wanted else wanted)

    @property
    def reach_back(self):
        """Frames before t that may still be wanted as supports; frame 0 may be older."""
        return self.frames * self.stride

    def serves(self, i):
        """May frame i be asked for as a support?"""
        return self.anchor == "sliding" or i % self.stride == 0


def _draw(candidates, count, rng):
    enough = len(candidates) >= count
    return [candidates[int(i)] for i in rng.choice(len(candidates), size=count, replace=not enough)]


def _clamp(indices, last):
    return [max(0, i if last is None else min(i, last)) for i in indices]
