"""Tracks by query embeddings."""

import itertools

import pytest
import torch

from stpn.heads import TrackMemory, match_embeddings


def test_matching_is_the_best_of_all_permutations():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        a, b = torch.randn(5, 7, generator=generator), torch.randn(5, 7, generator=generator)
        similarity = torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=-1)
        best = max(itertools.permutations(range(5)),
                   key=lambda p: sum(similarity[i, j].item() for i, j in enumerate(p)))
        assert match_embeddings(a, b).tolist() == list(best)


def test_length_of_an_embedding_does_not_matter():
    a, b = torch.randn(6, 4), torch.randn(6, 4)
    assert torch.equal(match_embeddings(a, b), match_embeddings(7 * a, b * torch.rand(6, 1)))


def test_shuffled_queries_keep_their_tracks():
    generator = torch.Generator().manual_seed(1)
    embeds, logits = torch.randn(8, 16, generator=generator), torch.randn(8, 4, generator=generator)
    memory, mean = TrackMemory(), logits.softmax(-1)[:, :-1]
    for t in range(5):
        shuffle = torch.randperm(8, generator=generator) if t else torch.arange(8)
        order = memory.add(logits[shuffle], embeds[shuffle] + 0.01 * torch.randn(8, 16, generator=generator))
        assert torch.equal(shuffle[order], torch.arange(8))
        torch.testing.assert_close(memory.scores(), mean)


def test_scores_are_of_the_mean_logits():
    memory, embeds = TrackMemory(), torch.eye(3)
    first, second = torch.randn(3, 5), torch.randn(3, 5)
    memory.add(first, embeds)
    memory.add(second, embeds)
    torch.testing.assert_close(memory.scores(), ((first + second) / 2).softmax(-1)[:, :4])


def test_a_late_object_is_seen_after_about_the_horizon_however_long_it_was_absent():
    absent, sure = torch.tensor([[0.0, 8.0]]), torch.tensor([[8.0, 0.0]])
    for waited in (50, 2000):
        memory, embeds = TrackMemory(horizon=15), torch.ones(1, 2)
        for _ in range(waited):
            memory.add(absent, embeds)
        needed = 0
        while memory.scores()[0, 0] < 0.5:
            memory.add(sure, embeds)
            needed += 1
        assert needed == 11  # 15 * ln 2, rounded up


def test_scores_that_are_no_numbers_are_told_with_their_frame():
    memory, embeds = TrackMemory(), torch.eye(2)
    memory.add(torch.zeros(2, 3), embeds)
    with pytest.raises(FloatingPointError, match="frame 1: class scores are not finite"):
        memory.add(torch.tensor([[0.0, float("inf"), 0], [0, 0, 0]]), embeds)


def test_embeddings_that_are_no_numbers_still_give_a_permutation():
    embeds = torch.randn(4, 3)
    embeds[1] = float("nan")
    order = match_embeddings(torch.randn(4, 3), embeds)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
