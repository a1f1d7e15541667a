"""The benchmarks run, at sizes at which their figures mean nothing."""

from __future__ import annotations

import pytest

from benchmarks import training


@pytest.mark.parametrize("model", ["gpt", "lstm"])
@pytest.mark.parametrize("contender", ["plain", "ours", "ours-fp32", "loss", "bookkeeping"])
def test_a_contender_runs(contender, model):
    measure, precision = training.CONTENDERS[contender]
    found = measure(training.SHAPES["smoke"], model, 1, precision)
    assert found
    assert all(figure is not None and figure >= 0 for figure in found.values())


@pytest.mark.parametrize("model", ["gpt", "lstm"])
def test_the_operations_are_counted(model):
    needed = training.operations(training.SHAPES["smoke"], model, 1)
    assert needed["projection"] == 3 * 2 * training.BATCH * 32 * 32 * 512
