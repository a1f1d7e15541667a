"""Cross-entropy through a tied vocabulary projection, without ever holding all logits.

At the reference sizes one fp32 logits tensor takes 632 MiB and the projection most of a training step. Here the
rows go through in chunks, and each chunk's gradient is formed while its probabilities are at hand: the matrix
products run in the compute type, the softmax and its log-sum-exp in fp32.

Two roundings to bf16 would bias what is learned, not only blur it: a 2-layer LSTM on its way off the unigram plateau
ended 6 % from its fp32 perplexity. They are cured without another product:

- The rows of a tied table have a large mean in common, which the gradient's entries, whose sum is zero, cancel only if
  they are exact. A softmax does not see what is added to a whole row of logits, so the mean is taken off the table.
- A target's gradient p − 1 rounds to −1 where p is small. What was lost is added in fp32, one table row a token.

Label smoothing by ε (Szegedy et al. 2016) makes the objective lse(z) − (1 − ε) z_target − ε mean(z). Its gradient is
p − (1 − ε) at the target and p elsewhere, less ε/V everywhere; that last part is the same for every row of the table,
so it is added to the finished gradients, and no pass over the logits is needed for it.

Shape suffixes: N rows (predicted tokens), C rows of a chunk, S rows of a softmax, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from lm.corpus.windows import PADDING, Batch

_CHUNK_ELEMENTS = {"cpu": 2**20, "cuda": 2**26}
"""Logits of a chunk. A GPU wants fewer and larger products, and has no cache that a chunk could stay in."""
_CHUNK_ROWS = (512, 4096)
_GROUP_CHUNKS = 2
_SOFTMAX_ELEMENTS = 2**20
_CENTRED_ROWS = 4096


def chunk_rows(vocabulary: int, device: str) -> int:
    """Rows of a chunk: enough for a fast matrix product."""
    low, high = _CHUNK_ROWS
    return max(low, min(high, _CHUNK_ELEMENTS[device] // vocabulary))


def softmax_rows(vocabulary: int, device: str) -> int:
    """Rows of a chunk whose softmax is formed at once: on a CPU so few that its passes find them in the cache."""
    rows = chunk_rows(vocabulary, device)
    return rows if device == "cuda" else max(1, min(rows, _SOFTMAX_ELEMENTS // vocabulary))


def group_rows(vocabulary: int, device: str) -> int:
    """Rows whose part of the weight gradient is one product: adding it up costs a pass over the whole table."""
    return _GROUP_CHUNKS * chunk_rows(vocabulary, device)


def _centred(weight_VD: Tensor, centre_D: Tensor, dtype: torch.dtype) -> Tensor:
    """The table without its mean row, in ``dtype``; in blocks, so that no second table in fp32 is ever whole."""
    centred_VD = torch.empty_like(weight_VD, dtype=dtype)
    for block, out in zip(weight_VD.split(_CENTRED_ROWS), centred_VD.split(_CENTRED_ROWS), strict=True):
        out.copy_(block - centre_D)
    return centred_VD


_frozen: WeakIdKeyDictionary = WeakIdKeyDictionary()
"""What :func:`_table` made of a table that nothing trains, by that table; it goes when the table goes."""


def _table(weight_VD: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The table as products take it, in ``dtype``, and the row (D) that was taken off it, in the table's own type.

    A frozen table's is formed once.
    """
    known = None if weight_VD.requires_grad else _frozen.get(weight_VD)
    if known is not None and known[:2] == (dtype, weight_VD._version):
        return known[2:]
    if dtype == torch.promote_types(dtype, torch.float32):
        return weight_VD.to(dtype), weight_VD.new_zeros(weight_VD.shape[1])
    centre_D = weight_VD.mean(0)
    formed = _centred(weight_VD, centre_D, dtype), centre_D
    if not weight_VD.requires_grad and not weight_VD.is_inference():
        _frozen[weight_VD] = (dtype, weight_VD._version, *formed)
    return formed


@dataclass(frozen=True, kw_only=True)
class _Terms:
    """A pass over all rows: negative log-likelihoods, what smoothing adds to them, and the gradients asked for."""

    nll_N: Tensor
    smoothing_N: Tensor | None
    grad_features_ND: Tensor | None
    grad_weight_VD: Tensor | None


def _terms(
    features_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    dtype: torch.dtype,
    label_smoothing: float,
    for_features: bool,
    for_weight: bool,
) -> _Terms:
    (N, D), V = features_ND.shape, weight_VD.shape[0]
    device = features_ND.device.type
    rows = min(chunk_rows(V, device), N)
    at_once = min(softmax_rows(V, device), N)
    group = min(group_rows(V, device), N) if for_weight else rows
    wide = torch.promote_types(dtype, torch.float32)
    rounded = dtype != wide
    features = features_ND.to(dtype)
    weight, centre_D = _table(weight_VD, dtype)
    products = features.new_empty(group, V)
    # in fp32 and fp64 the softmax is formed in place, over the products
    softmax = features.new_empty(at_once, V, dtype=wide) if rounded else products
    grad_features = features.new_empty(N, D, dtype=wide) if for_features else None
    grad_weight = None
    largest_N1, share_N1, target_logits_N1, lost_N1 = features.new_zeros(4, N, 1, dtype=wide)

    for start in range(0, N, rows):
        place, C = start % group, min(rows, N - start)
        z_CV = products[place : place + C]
        torch.mm(features[start : start + C], weight.T, out=z_CV)
        for first in range(0, C, at_once):
            these = slice(start + first, start + min(first + at_once, C))
            z_SV, targets_S1 = z_CV[first : first + at_once], targets_N[these, None]
            p_SV = softmax[: len(z_SV)].copy_(z_SV) if rounded else z_SV
            target_logits_N1[these] = p_SV.gather(1, targets_S1)
            torch.amax(p_SV, 1, keepdim=True, out=largest_N1[these])
            torch.softmax(p_SV, 1, out=p_SV)
            torch.amax(p_SV, 1, keepdim=True, out=share_N1[these])
            if not (for_features or for_weight):
                continue
            p_SV.scatter_add_(1, targets_S1, p_SV.new_full((len(z_SV), 1), label_smoothing - 1.0))
            if rounded:
                z_SV.copy_(p_SV)
                lost_N1[these] = p_SV.gather(1, targets_S1) - z_SV.gather(1, targets_S1)
        if grad_features is not None:
            grad_features[start : start + C] = z_CV @ weight
        if for_weight and (place + C == group or start + C == N):
            part = products[: place + C].T @ features[start - place : start + C]
            grad_weight = part.to(wide) if grad_weight is None else grad_weight.add_(part)

    if rounded and grad_features is not None:
        grad_features += lost_N1 * (weight_VD[targets_N] - centre_D)
    if rounded and grad_weight is not None:
        grad_weight.index_add_(0, targets_N, lost_N1 * features_ND)
    # the largest probability is at least 1/V, so this log-sum-exp never under- or overflows
    nll_N1 = largest_N1 - share_N1.log() - target_logits_N1
    smoothing_N1 = None
    if label_smoothing > 0:
        # of a table without its mean row, the mean logit is zero
        mean_row_D = weight_VD.new_zeros(D, dtype=wide) if rounded else weight.mean(0)
        smoothing_N1 = label_smoothing * (target_logits_N1 - (features.to(wide) @ mean_row_D)[:, None])
        if grad_features is not None:
            grad_features -= label_smoothing * mean_row_D
        if grad_weight is not None:
            grad_weight -= label_smoothing / V * features_ND.to(wide).sum(0)
    return _Terms(
        nll_N=nll_N1.squeeze(1),
        smoothing_N=None if smoothing_N1 is None else smoothing_N1.squeeze(1),
        grad_features_ND=grad_features,
        grad_weight_VD=grad_weight,
    )


class _ProjectedCrossEntropy(torch.autograd.Function):
    """Sums the terms; its gradients, formed with them, wait for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        features_ND: Tensor,
        weight_VD: Tensor,
        targets_N: Tensor,
        dtype: torch.dtype,
        label_smoothing: float,
        grad_enabled: bool,
    ) -> tuple[Tensor, Tensor]:
        # inside a Function grad mode is always off, and needs_input_grad does not know what it was outside
        wanted = [needed and grad_enabled for needed in ctx.needs_input_grad[:2]]
        with torch.autocast(features_ND.device.type, enabled=False):
            terms = _terms(features_ND, weight_VD, targets_N, dtype, label_smoothing, *wanted)
        ctx.save_for_backward(*(g for g in (terms.grad_features_ND, terms.grad_weight_VD) if g is not None))
        ctx.types = features_ND.dtype, weight_VD.dtype
        nll = terms.nll_N.sum(dtype=torch.float64)
        added = terms.smoothing_N
        objective = nll.clone() if added is None else nll + added.sum(dtype=torch.float64)
        ctx.mark_non_differentiable(nll)
        return objective, nll

    @staticmethod
    def backward(ctx: Any, grad_objective: Tensor, _grad_nll: Tensor) -> tuple[Tensor | None, ...]:
        saved = list(ctx.saved_tensors)
        grads: list[Tensor | None] = []
        for needed, dtype in zip(ctx.needs_input_grad[:2], ctx.types, strict=True):
            if not needed:
                grads.append(None)
                continue
            grad = saved.pop(0)
            wide = torch.promote_types(grad.dtype, torch.float32)
            grads.append(grad.to(wide).mul_(grad_objective.to(wide)).to(dtype))
        return *grads, None, None, None, None


def objective_and_nll(
    features_BTD: Tensor,
    weight_VD: Tensor,
    batch: Batch,
    dtype: torch.dtype = torch.float32,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """What training minimizes, and what it is scored by, both in nats and summed over a batch's targets.

    The objective is the cross-entropy against targets smoothed by ``label_smoothing``, as in
    ``F.cross_entropy(label_smoothing=…, reduction="sum")``; without smoothing it is the negative log-likelihood. The
    negative log-likelihood itself carries no gradient.

    Float64 scalars: divide by ``batch.predicted`` for means. ``batch``'s tensors are on the features' device.
    Products are taken in ``dtype``; padding is left out. No gradient is computed for a weight that is frozen.
    """
    features_ND, targets_N = _predicted(features_BTD, batch)
    objective, nll = _ProjectedCrossEntropy.apply(
        features_ND, weight_VD, targets_N, dtype, label_smoothing, torch.is_grad_enabled()
    )
    return objective, nll


def projected_cross_entropy(
    features_BTD: Tensor,
    weight_VD: Tensor,
    batch: Batch,
    dtype: torch.dtype = torch.float32,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The objective alone of :func:`objective_and_nll`: without smoothing the total negative log-likelihood."""
    return objective_and_nll(features_BTD, weight_VD, batch, dtype, label_smoothing)[0]


@torch.no_grad()
def token_losses(features_BTD: Tensor, weight_VD: Tensor, batch: Batch, dtype: torch.dtype = torch.float32) -> Tensor:
    """Negative log-likelihood, in nats, of each predicted token in order: (``batch.predicted``,), without gradient."""
    features_ND, targets_N = _predicted(features_BTD, batch)
    with torch.autocast(features_ND.device.type, enabled=False):
        return _terms(features_ND, weight_VD, targets_N, dtype, 0.0, False, False).nll_N


def _predicted(features_BTD: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Features and targets of the positions that are not padding, (N, D) and (N,)."""
    features_ND, targets_N = features_BTD.flatten(0, -2), batch.targets_BT.flatten()
    if batch.predicted < len(targets_N):
        kept = targets_N != PADDING
        features_ND, targets_N = features_ND[kept], targets_N[kept]
    return features_ND, targets_N
