"""Cross-entropy through a tied vocabulary projection, without ever holding all logits.

At the reference sizes one fp32 logits tensor takes 632 MiB and the projection most of a training step. Here the
rows go through in chunks, and each chunk's gradient is formed while its probabilities are at hand: the matrix
products run in the compute type, the softmax and its log-sum-exp in fp32.

Shape suffixes: N rows (predicted tokens), C rows of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lm.corpus.windows import PADDING, Batch

_CHUNK_ELEMENTS = 2**21
_CHUNK_ROWS = (256, 4096)


def chunk_rows(vocabulary: int) -> int:
    """Rows of a chunk: enough for a fast matrix product, few enough for the fp32 buffer to stay in cache."""
    low, high = _CHUNK_ROWS
    return max(low, min(high, _CHUNK_ELEMENTS // vocabulary))


class _ProjectedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, dtype: torch.dtype) -> Tensor:
        with torch.autocast(features_ND.device.type, enabled=False):
            return _ProjectedCrossEntropy._forward(ctx, features_ND, weight_VD, targets_N, dtype)

    @staticmethod
    def _forward(ctx, features_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, dtype: torch.dtype) -> Tensor:
        for_features, for_weight = ctx.needs_input_grad[:2]
        (N, D), V = features_ND.shape, weight_VD.shape[0]
        rows = min(chunk_rows(V), N)
        features, weight = features_ND.to(dtype), weight_VD.to(dtype)
        softmax_type = torch.promote_types(dtype, torch.float32)
        products = features.new_empty(rows, V)
        # in fp32 and fp64 the softmax is formed in place, over the products
        softmax = products if dtype == softmax_type else features.new_empty(rows, V, dtype=softmax_type)
        grad_features = features.new_empty(N, D) if for_features else None
        grad_weight = features.new_zeros(V, D, dtype=softmax_type) if for_weight else None
        total = torch.zeros((), dtype=torch.float64, device=features.device)

        for start in range(0, N, rows):
            chunk = features[start : start + rows]
            targets_C1 = targets_N[start : start + rows, None]
            C = len(chunk)
            z_CV, p_CV = products[:C], softmax[:C]
            torch.mm(chunk, weight.T, out=z_CV)
            target_logits = z_CV.gather(1, targets_C1).to(softmax_type)
            largest = z_CV.amax(1, keepdim=True).to(softmax_type)
            if dtype != softmax_type:
                p_CV.copy_(z_CV)
            torch.softmax(p_CV, 1, out=p_CV)
            # the largest probability is at least 1/V, so this log-sum-exp never under- or overflows
            log_sum_exp = largest - p_CV.amax(1, keepdim=True).log()
            total += (log_sum_exp - target_logits).sum(dtype=torch.float64)
            if not (for_features or for_weight):
                continue
            p_CV.scatter_add_(1, targets_C1, p_CV.new_full((C, 1), -1.0))
            if dtype != softmax_type:
                z_CV.copy_(p_CV)
            if for_features:
                torch.mm(z_CV, weight, out=grad_features[start : start + rows])
            if for_weight and dtype == softmax_type:
                grad_weight.addmm_(z_CV.T, chunk)
            elif for_weight:
                grad_weight += z_CV.T @ chunk

        ctx.save_for_backward(*(g for g in (grad_features, grad_weight) if g is not None))
        ctx.types = features_ND.dtype, weight_VD.dtype
        return total

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
            grads.append((grad.to(wide) * grad_total.to(wide)).to(dtype))
        return *grads, None, None


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
    return _ProjectedCrossEntropy.apply(features_ND, weight_VD, targets_N, dtype)
