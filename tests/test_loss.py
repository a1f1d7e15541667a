"""The chunked loss against the plain way: log-softmax over all logits, in fp64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lm.corpus.windows import PADDING, Batch, Windows
from lm.training import evaluation, loss
from lm.training.evaluation import mean_loss
from lm.training.hardware import Compute
from lm.training.loss import objective_and_nll, projected_cross_entropy, token_losses

CPU_FP32 = Compute(torch.device("cpu"), "fp32", 1, False)

BF16 = {"atol": 4e-2, "rtol": 4e-2}
"""bf16 keeps 8 bits: a logit of size 1 is off by up to 2^-9, a product rounded on its way in by as much again."""


def plain(features: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Total NLL and its two gradients in fp64, all logits at once."""
    features, weight = (t.detach().double().requires_grad_() for t in (features, weight))
    log_probabilities = torch.log_softmax(features @ weight.T, dim=-1).flatten(0, -2)
    kept = targets.flatten() != PADDING
    total = -log_probabilities[kept].gather(1, targets.flatten()[kept, None]).sum()
    total.backward()
    return total.detach(), features.grad, weight.grad


def as_batch(targets: Tensor) -> Batch:
    return Batch(torch.zeros_like(targets), targets, int((targets != PADDING).sum()))


def draw(batch: int, time: int, width: int, vocabulary: int, padded: int, size: float, seed: int):
    """Random features, weights and targets; the last ``padded`` targets (never all) do not exist."""
    generator = torch.Generator().manual_seed(seed)
    features = size * torch.randn(batch, time, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(vocabulary, width, generator=generator, dtype=torch.float64) / width**0.5
    targets = torch.randint(vocabulary, (batch, time), generator=generator)
    padded = min(padded, batch * time - 1)
    if padded:
        targets.view(-1)[-padded:] = PADDING
    return features, weight, targets


def chunked(features: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    features, weight = (t.detach().to(kind).requires_grad_() for t in (features, weight))
    total = projected_cross_entropy(features, weight, as_batch(targets), dtype)
    total.backward()
    return total.detach(), features.grad, weight.grad


shapes = st.builds(
    draw,
    batch=st.integers(1, 4),
    time=st.integers(1, 9),
    width=st.integers(1, 12),
    vocabulary=st.integers(1, 40),
    padded=st.integers(0, 8),
    size=st.sampled_from([0.0, 1.0, 30.0]),
    seed=st.integers(0, 2**16),
)


@pytest.fixture(autouse=True, scope="module")
def _small_chunks() -> object:
    """Chunks of five rows and softmaxes of fewer, so that small shapes cross their boundaries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "_CHUNK_ROWS", (5, 5))
        patch.setattr(loss, "_SOFTMAX_ELEMENTS", 40)
        yield


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, {"atol": 1e-10, "rtol": 1e-10}), (torch.float32, {"atol": 1e-4, "rtol": 1e-5})],
)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(drawn=shapes)
def test_equals_the_plain_way(dtype, tolerance, drawn):
    features, weight, targets = drawn
    for ours, theirs in zip(chunked(features, weight, targets, dtype), plain(*drawn), strict=True):
        torch.testing.assert_close(ours.double(), theirs, **tolerance)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(drawn=shapes.filter(lambda drawn: drawn[0].abs().max() < 10))
def test_equals_the_plain_way_in_bf16(drawn):
    features, weight, targets = drawn
    count = (targets != PADDING).sum()
    (ours, *gradients), (theirs, *expected) = chunked(features, weight, targets, torch.bfloat16), plain(*drawn)
    torch.testing.assert_close(ours / count, theirs / count, **BF16)
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient.double() / count, other / count, **BF16)


@pytest.mark.parametrize("rows", [1, 4, 5, 6, 10, 11])
def test_chunk_boundaries(rows):
    """One row, one short of a chunk, a whole one, one more, two whole ones, two and one."""
    drawn = draw(1, rows, 6, 17, 0, 1.0, rows)
    for ours, theirs in zip(chunked(*drawn, torch.float64), plain(*drawn), strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-10, rtol=1e-10)


def test_log_sum_exp_neither_overflows_nor_vanishes():
    features = torch.tensor([[[1e4], [-1e4]]])
    weight = torch.tensor([[1.0], [-1.0]])
    total, *gradients = chunked(features, weight, torch.tensor([[0, 0]]), torch.float32)
    assert total.item() == pytest.approx(2e4)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("frozen", ["weight", "features"])
def test_what_is_frozen_gets_no_gradient_and_changes_none(frozen):
    features, weight, targets = draw(2, 7, 5, 11, 3, 1.0, 0)
    total, grad_features, grad_weight = plain(features, weight, targets)
    features.requires_grad_(frozen != "features")
    weight.requires_grad_(frozen != "weight")
    value = projected_cross_entropy(features, weight, as_batch(targets), torch.float64)
    value.backward()
    assert value.item() == pytest.approx(total.item())
    if frozen == "weight":
        assert weight.grad is None
        torch.testing.assert_close(features.grad, grad_features, atol=1e-10, rtol=1e-10)
    else:
        assert features.grad is None
        torch.testing.assert_close(weight.grad, grad_weight, atol=1e-10, rtol=1e-10)


def test_value_is_the_same_where_no_gradient_is_asked_for():
    features, weight, targets = draw(2, 7, 5, 11, 3, 1.0, 0)
    with torch.inference_mode():
        value = projected_cross_entropy(features, weight, as_batch(targets), torch.float64)
    assert value.item() == pytest.approx(plain(features, weight, targets)[0].item())


def test_a_factor_on_the_loss_scales_the_gradient():
    features, weight, targets = draw(2, 7, 5, 11, 3, 1.0, 0)
    _, expected, _ = plain(features, weight, targets)
    features.requires_grad_()
    (projected_cross_entropy(features, weight, as_batch(targets), torch.float64) / 8).backward()
    torch.testing.assert_close(features.grad, expected / 8, atol=1e-10, rtol=1e-10)


class Toy(torch.nn.Module):
    """Every token has the same features, so the model is one distribution, known in closed form."""

    def __init__(self, probabilities: list[float]) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(len(probabilities), 1)
        with torch.no_grad():
            self.embedding.weight.copy_(torch.tensor(probabilities).log()[:, None])

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.ones(*tokens.shape, 1)


@pytest.mark.parametrize("tokens_at_once", [8, 32, 8192])
def test_perplexity_of_a_toy_distribution(monkeypatch, tokens_at_once):
    """Counts 8, 4, 2, 1, 1 under p = 1/2, 1/4, 1/8, 1/16, 1/16 cost 30 bits a cycle of 16: perplexity 2^(30/16).

    Fifteen cycles in windows of 8 end in a window with a single padded place, in a last batch that is not full.
    """
    monkeypatch.setattr(evaluation, "_TOKENS_AT_ONCE", tokens_at_once)
    cycle = np.repeat(np.arange(5), [8, 4, 2, 1, 1])
    tokens = np.concatenate([[0], np.random.default_rng(0).permutation(np.tile(cycle, 15))])
    windows = Windows(tokens[:-1].astype(np.uint16), 8)
    counts = np.bincount(tokens[1:-1], minlength=5)
    bits = counts @ np.array([1, 2, 3, 4, 4])
    assert len(windows) == 30
    assert windows.predicted == counts.sum() == 239

    found = mean_loss(Toy([1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16]), windows, np.arange(30), CPU_FP32)
    assert math.exp(found) == pytest.approx(2 ** (bits / 239), rel=1e-6)

    whole = Windows(tokens.astype(np.uint16), 8)
    found = mean_loss(Toy([1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16]), whole, np.arange(30), CPU_FP32)
    assert math.exp(found) == pytest.approx(2 ** (30 / 16), rel=1e-6)


class Products(TorchDispatchMode):
    """Counts matrix products."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.count += function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm)
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("inference", [torch.inference_mode, torch.no_grad])
def test_scoring_forms_no_gradient(inference):
    features, weight, targets = draw(2, 5, 4, 11, 0, 1.0, 0)
    features.requires_grad_(), weight.requires_grad_()
    with inference(), Products() as products:
        projected_cross_entropy(features, weight, as_batch(targets), torch.float64)
    assert products.count == 2  # ten rows in chunks of five, a forward product each


@pytest.mark.parametrize("group", [1, 2, 3])
def test_the_tables_gradient_is_whole_however_its_rows_are_grouped(monkeypatch, group):
    monkeypatch.setattr(loss, "_CHUNK_ROWS", (3, 3))
    monkeypatch.setattr(loss, "_GROUP_CHUNKS", group)
    features, weight, targets = draw(2, 8, 4, 11, 3, 1.0, 1)
    features.requires_grad_(), weight.requires_grad_()
    projected_cross_entropy(features, weight, as_batch(targets), torch.float64).backward()
    _, _, expected = plain(features, weight, targets)
    torch.testing.assert_close(weight.grad, expected)


def gradients_in_bf16(features: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    features, weight = (t.float().requires_grad_() for t in (features, weight))
    projected_cross_entropy(features, weight, as_batch(targets), torch.bfloat16).backward()
    return features.grad, weight.grad


def test_rounding_does_not_bring_in_what_the_tables_rows_share():
    features, weight, targets = draw(2, 20, 16, 200, 0, 1.0, 3)
    weight = 0.02 * weight + 3 * torch.ones(16, dtype=torch.float64)
    found, _ = gradients_in_bf16(features, weight, targets)
    _, expected, _ = plain(features, weight, targets)
    assert (found - expected).norm() < 0.02 * expected.norm()


def test_rounding_does_not_take_small_probabilities_off_the_targets(monkeypatch):
    """Where every token is as likely as it is frequent the table has no gradient; 2^-10 - 1 rounds to -1 in bf16."""
    monkeypatch.setattr(loss, "_CHUNK_ROWS", (4096, 4096))
    features = torch.ones(1, 4096, 4, dtype=torch.float64)
    weight = torch.zeros(1024, 4, dtype=torch.float64)
    _, found = gradients_in_bf16(features, weight, torch.arange(1024).repeat(4)[None])
    assert found.abs().max() < 1e-5


def smoothed(features: Tensor, weight: Tensor, targets: Tensor, amount: float) -> tuple[Tensor, Tensor, Tensor]:
    """PyTorch's own smoothed cross-entropy over all logits in fp64, and its gradients."""
    features, weight = (t.detach().double().requires_grad_() for t in (features, weight))
    total = F.cross_entropy(
        (features @ weight.T).flatten(0, -2),
        targets.flatten(),
        ignore_index=PADDING,
        label_smoothing=amount,
        reduction="sum",
    )
    total.backward()
    return total.detach(), features.grad, weight.grad


SMOOTHED = {
    torch.float64: {"atol": 1e-9, "rtol": 1e-9},
    torch.float32: {"atol": 2e-4, "rtol": 1e-4},
    torch.bfloat16: BF16,
}


@pytest.mark.parametrize("dtype", SMOOTHED)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(drawn=shapes, amount=st.sampled_from([0.0, 0.05, 0.3, 0.9]))
def test_smoothing_is_pytorchs_in_value_and_gradient(dtype, drawn, amount):
    features, weight, targets = drawn
    if dtype == torch.bfloat16:
        features, weight = (t.clamp(-3, 3).to(torch.bfloat16).double() for t in drawn[:2])
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    ours = [t.detach().to(kind).requires_grad_() for t in (features, weight)]
    objective, nll = objective_and_nll(*ours, as_batch(targets), dtype, amount)
    objective.backward()
    expected, grad_features, grad_weight = smoothed(features, weight, targets, amount)
    tolerance = SMOOTHED[dtype] if dtype != torch.bfloat16 else {"atol": 0.04 * targets.numel(), "rtol": 4e-2}
    torch.testing.assert_close(objective.detach(), expected, **tolerance)
    torch.testing.assert_close(nll, plain(features, weight, targets)[0], **tolerance)
    torch.testing.assert_close(ours[0].grad.double(), grad_features, **tolerance)
    torch.testing.assert_close(ours[1].grad.double(), grad_weight, **tolerance)


def test_smoothing_in_bf16_at_a_size_where_roundings_would_add_up():
    features, weight, targets = draw(4, 256, 32, 500, 7, 1.0, 11)
    ours = [t.detach().float().requires_grad_() for t in (features, weight)]
    objective, _ = objective_and_nll(*ours, as_batch(targets), torch.bfloat16, 0.1)
    objective.backward()
    expected, grad_features, grad_weight = smoothed(features, weight, targets, 0.1)
    assert objective.item() == pytest.approx(expected.item(), rel=1e-4)
    assert (ours[0].grad - grad_features).norm() < 0.01 * grad_features.norm()
    assert (ours[1].grad - grad_weight).norm() < 0.01 * grad_weight.norm()


def test_without_smoothing_the_objective_is_the_likelihood_to_the_bit_and_only_it_has_a_gradient():
    features, weight, targets = draw(2, 7, 5, 11, 3, 1.0, 0)
    features.requires_grad_()
    objective, nll = objective_and_nll(features, weight, as_batch(targets), torch.float64)
    assert objective.item() == nll.item()
    assert objective.requires_grad
    assert not nll.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_of_tokens_are_the_totals_parts_in_order(dtype):
    features, weight, targets = draw(3, 7, 5, 11, 4, 1.0, 0)
    features, weight = features.float().requires_grad_(), weight.float().requires_grad_()
    found = token_losses(features, weight, as_batch(targets), dtype)
    assert found.shape == (3 * 7 - 4,)
    assert not found.requires_grad
    total = projected_cross_entropy(features, weight, as_batch(targets), dtype)
    assert found.double().sum().item() == total.item()
    expected = F.cross_entropy((features @ weight.T).flatten(0, 1), targets.flatten(), reduction="none")
    torch.testing.assert_close(found, expected[: len(found)], **(BF16 if dtype == torch.bfloat16 else {}))


class TestAFrozenTable:
    def step(self, weight: Tensor) -> float:
        features, _, targets = draw(2, 7, 5, 11, 3, 1.0, 0)
        features = features.float().requires_grad_()
        value = projected_cross_entropy(features, weight, as_batch(targets), torch.bfloat16)
        value.backward()
        return value.item()

    def test_is_formed_once(self, monkeypatch):
        made = []
        form = loss._centred
        monkeypatch.setattr(loss, "_centred", lambda *a: made.append(1) or form(*a))
        weight = draw(2, 7, 5, 11, 3, 1.0, 0)[1].float()
        assert len({self.step(weight) for _ in range(3)}) == 1
        assert len(made) == 1

    def test_is_formed_anew_where_it_was_changed_or_trained(self, monkeypatch):
        made = []
        form = loss._centred
        monkeypatch.setattr(loss, "_centred", lambda *a: made.append(1) or form(*a))
        weight = draw(2, 7, 5, 11, 3, 1.0, 0)[1].float()
        before = self.step(weight)
        weight[0] += 1.0
        assert self.step(weight) != before
        self.step(weight.requires_grad_()), self.step(weight)
        assert len(made) == 4

    def test_does_not_outlive_its_table(self):
        weight = draw(2, 7, 5, 11, 3, 1.0, 0)[1].float()
        before = len(loss._frozen)
        self.step(weight)
        assert len(loss._frozen) == before + 1
        del weight
        assert len(loss._frozen) == before
