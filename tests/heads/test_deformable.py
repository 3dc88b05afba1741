"""Deformable attention and the sine position against slow plain versions."""

import math

import pytest
import torch

from stpn.heads.mask2former.deformable import MSDeformAttn, sample_levels
from stpn.heads.mask2former.position import sine_position


def bilinear(image, x, y):
    """image (h, w, D) at x, y in cells, where the first centre is 0.5; zero outside."""
    h, w, width = image.shape
    x, y = x - 0.5, y - 0.5
    total = torch.zeros(width)
    for i in (math.floor(y), math.floor(y) + 1):
        for j in (math.floor(x), math.floor(x) + 1):
            if 0 <= i < h and 0 <= j < w:
                total += image[i, j] * (1 - abs(y - i)) * (1 - abs(x - j))
    return total


def test_sampling_equals_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    shapes, N, M, D, queries, P = [(2, 3), (4, 5)], 2, 2, 3, 4, 2
    value = torch.randn(N, 26, M, D, generator=generator)
    locations = torch.rand(N, queries, M, 2, P, 2, generator=generator) * 1.4 - 0.2
    weights = torch.rand(N, queries, M, 2, P, generator=generator)
    found = sample_levels(value, shapes, locations, weights)
    for n in range(N):
        for q in range(queries):
            for m in range(M):
                total = torch.zeros(D)
                for level, (start, (h, w)) in enumerate(zip((0, 6), shapes, strict=True)):
                    image = value[n, start:start + h * w, m].view(h, w, D)
                    for p in range(P):
                        x, y = locations[n, q, m, level, p].tolist()
                        total += weights[n, q, m, level, p] * bilinear(image, x * w, y * h)
                torch.testing.assert_close(found[n, q, m * D:(m + 1) * D], total, atol=1e-5, rtol=1e-5)


def test_another_kernel_takes_the_place_of_sampling():
    calls = []

    def kernel(*arguments):
        calls.append(arguments[1])
        return sample_levels(*arguments)

    torch.manual_seed(0)
    attention = MSDeformAttn(16, num_levels=1, num_heads=4)
    other = MSDeformAttn(16, num_levels=1, num_heads=4, kernel=kernel)
    other.load_state_dict(attention.state_dict())
    tokens, reference = torch.randn(1, 12, 16), torch.rand(12, 2)
    assert torch.equal(attention(tokens, reference, tokens, [(3, 4)]), other(tokens, reference, tokens, [(3, 4)]))
    assert calls == [[(3, 4)]]


def test_width_must_be_shared_by_the_heads():
    with pytest.raises(ValueError, match="width 10 cannot have 4 heads"):
        MSDeformAttn(10, num_levels=1, num_heads=4)


def test_sine_position_equals_its_formula():
    h, w, width = 3, 5, 12
    found = sine_position(h, w, width)
    for i in range(h):
        for j in range(w):
            for c in range(width):
                place, n = ((i, h), (j, w))[c >= width // 2]
                k = c % (width // 2)
                angle = (place + 1) / (n + 1e-6) * 2 * math.pi / 10000 ** (2 * (k // 2) / (width // 2))
                wanted = math.cos(angle) if k % 2 else math.sin(angle)
                assert found[c, i, j].item() == pytest.approx(wanted, abs=1e-5)
