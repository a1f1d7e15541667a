"""Cross-entropy through a tied vocabulary projection, without ever holding all logits.

At the reference sizes one fp32 logits tensor takes 632 MiB and the projection most of a training step. Here the
rows go through in chunks, and each chunk's gradient is formed while its probabilities are at hand: the matrix
products run in the compute type, the softmax and its log-sum-exp in fp32.

Two roundings to bf16 would bias what is learned, not only blur it: a 2-layer LSTM on its way off the unigram plateau
ended 6 % from its fp32 perplexity. They are cured without another product:

- The rows of a tied table have a large mean in common, which the gradient's entries, whose sum is zero, cancel only if
  they are exact. A softmax does not see what is added to a whole row of logits, so the mean is taken off the table.
- A target's gradient p − 1 rounds to −1 where p is small. What was lost is added in fp32, one table row a token.

Shape suffixes: N rows (predicted tokens), C rows of a chunk, S rows of a softmax, D width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lm.corpus.windows import PADDING, Batch

_CHUNK_ELEMENTS = 2**20
_CHUNK_ROWS = (512, 4096)
_GROUP_CHUNKS = 2
_SOFTMAX_ELEMENTS = 2**20
_CENTRED_ROWS = 4096


def chunk_rows(vocabulary: int) -> int:
    """Rows of a chunk: enough for a fast matrix product."""
    low, high = _CHUNK_ROWS
    return max(low, min(high, _CHUNK_ELEMENTS // vocabulary))


def softmax_rows(vocabulary: int, device: str) -> int:
    """Rows of a chunk whose softmax is formed at once: on a CPU so few that its passes find them in the cache."""
    rows = chunk_rows(vocabulary)
    return rows if device == "cuda" else max(1, min(rows, _SOFTMAX_ELEMENTS // vocabulary))


def group_rows(vocabulary: int) -> int:
    """Rows whose part of the weight gradient is one product: adding it up costs a pass over the whole table."""
    return _GROUP_CHUNKS * chunk_rows(vocabulary)


def _centred(weight_VD: Tensor, centre_D: Tensor, dtype: torch.dtype) -> Tensor:
    """The table without its mean row, in ``dtype``; in blocks, so that no second table in fp32 is ever whole."""
    centred_VD = torch.empty_like(weight_VD, dtype=dtype)
    for block, out in zip(weight_VD.split(_CENTRED_ROWS), centred_VD.split(_CENTRED_ROWS), strict=True):
        out.copy_(block - centre_D)
    return centred_VD


class _ProjectedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, features_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, dtype: torch.dtype, grad_enabled: bool
    ) -> Tensor:
        # inside a Function grad mode is always off, and needs_input_grad does not know what it was outside
        wanted = [needed and grad_enabled for needed in ctx.needs_input_grad[:2]]
        with torch.autocast(features_ND.device.type, enabled=False):
            return _ProjectedCrossEntropy._forward(ctx, features_ND, weight_VD, targets_N, dtype, wanted)

    @staticmethod
    def _forward(
        ctx, features_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, dtype: torch.dtype, wanted: list[bool]
    ) -> Tensor:
        for_features, for_weight = wanted
        (N, D), V = features_ND.shape, weight_VD.shape[0]
        rows = min(chunk_rows(V), N)
        at_once = min(softmax_rows(V, features_ND.device.type), N)
        group = min(group_rows(V), N) if for_weight else rows
        wide = torch.promote_types(dtype, torch.float32)
        rounded = dtype != wide
        features = features_ND.to(dtype)
        centre_D = weight_VD.mean(0) if rounded else weight_VD.new_zeros(D)
        weight = _centred(weight_VD, centre_D, dtype) if rounded else weight_VD.to(dtype)
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
                p_SV.scatter_add_(1, targets_S1, p_SV.new_full((len(z_SV), 1), -1.0))
                if rounded:
                    z_SV.copy_(p_SV)
                    lost_N1[these] = p_SV.gather(1, targets_S1) - z_SV.gather(1, targets_S1)
            if for_features:
                grad_features[start : start + C] = z_CV @ weight
            if for_weight and (place + C == group or start + C == N):
                part = products[: place + C].T @ features[start - place : start + C]
                grad_weight = part.to(wide) if grad_weight is None else grad_weight.add_(part)

        if rounded and for_features:
            grad_features += lost_N1 * (weight_VD[targets_N] - centre_D)
        if rounded and for_weight:
            grad_weight.index_add_(0, targets_N, lost_N1 * features_ND)
        ctx.save_for_backward(*(g for g in (grad_features, grad_weight) if g is not None))
        ctx.types = features_ND.dtype, weight_VD.dtype
        # the largest probability is at least 1/V, so this log-sum-exp never under- or overflows
        return (largest_N1 - share_N1.log() - target_logits_N1).sum(dtype=torch.float64)

    @staticmethod
    def backward(ctx, grad_total: Tensor) -> tuple[Tensor | None, ...]:
        saved = list(ctx.saved_tensors)
        grads = []
        for needed, dtype in zip(ctx.needs_input_grad[:2], ctx.types, strict=True):
            if not needed:
                grads.append(None)
                continue
            grad = saved.pop(0)
            wide = torch.promote_types(grad.dtype, torch.float32)
            grads.append(grad.to(wide).mul_(grad_total.to(wide)).to(dtype))
        return *grads, None, None, None


def projected_cross_entropy(
    features_BTD: Tensor, weight_VD: Tensor, batch: Batch, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Total negative log-likelihood, in nats, of a batch's targets under ``softmax(features @ weight.T)``.

    A float64 scalar: divide by ``batch.predicted`` for the mean. ``batch``'s tensors are on the features' device.
    Products are taken in ``dtype``; padding is left out. No gradient is computed for a weight that is frozen.
    """
    features_ND, targets_N = features_BTD.flatten(0, -2), batch.targets_BT.flatten()
    if batch.predicted < len(targets_N):
        kept = targets_N != PADDING
        features_ND, targets_N = features_ND[kept], targets_N[kept]
    return _ProjectedCrossEntropy.apply(features_ND, weight_VD, targets_N, dtype, torch.is_grad_enabled())
