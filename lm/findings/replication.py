"""Whether the runs repeat the original study: only asked where they predicted the same tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from lm.results.reference import (
    BATCH,
    BETA2,
    CONTEXT,
    EPOCHS,
    LR,
    MOMENTUM,
    SCALE,
    VALIDATION_TOKENS,
    VOCABULARY,
    Published,
    Reference,
    trainable_parameters,
    weight_decay,
)
from lm.results.statistics import t_quantile
from lm.results.summary import ExperimentSummary, Summaries


class Place(StrEnum):
    """Where our loss lies against what the study and its replications spread over, widened by the measured spread."""

    WITHIN = "within"
    LOWER = "lower"
    HIGHER = "higher"
    DIVERGED = "diverged"
    """Ours diverged: nothing to place."""


class Outcome(StrEnum):
    """What the places come to."""

    REPLICATED = "replicated"
    PARTLY = "partly"
    NONE_COMPARABLE = "none_comparable"
    """Every one of ours diverged."""
    OTHER_TEXT = "other_text"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One experiment beside the study's. Losses with the study's denominator; ``published_seconds``,
    ``published_memory`` (MiB) as published; ``low``, ``high``: what the study and its replications spread over."""

    experiment: ExperimentSummary
    place: Place | None
    published_loss: float
    published_best_epoch: int
    published_seconds: float
    published_memory: float
    low: float
    high: float
    replications: int


@dataclass(frozen=True, kw_only=True)
class Replication:
    """``published_tokens``, ``tokens``: predicted validation tokens, the study's and ours."""

    outcome: Outcome
    published_tokens: int
    tokens: int | None
    beside: tuple[Beside, ...]


_SAME_TEXT = 1e-4
"""Relative difference in tokens up to which two token streams are of one text. Ours has one more than the study's,
whose windows skip one; <unk> can cost a few.
"""


def replication(summaries: Summaries, reference: Reference) -> Replication | None:
    """Validation loss, with the study's denominator, against the study's and its replications'.

    None where no experiment is one of the study's at its scale and settings.
    """
    published = {row.experiment: row for row in reference.results}
    ours = [
        (experiment, published[experiment.id])
        for experiment in summaries.experiments
        if experiment.id in published and _is_the_studys(experiment, published[experiment.id])
    ]
    if not ours:
        return None
    tokens = ours[0][0].text.validation_tokens
    same_text = tokens is not None and abs(tokens / VALIDATION_TOKENS - 1) <= _SAME_TEXT
    beside = tuple(_beside(experiment, row, reference, same_text) for experiment, row in ours)
    places = {entry.place for entry in beside}
    outcome = Outcome.PARTLY
    if not same_text:
        outcome = Outcome.OTHER_TEXT
    elif places == {Place.DIVERGED}:
        outcome = Outcome.NONE_COMPARABLE
    elif places == {Place.WITHIN}:
        outcome = Outcome.REPLICATED
    return Replication(outcome=outcome, published_tokens=VALIDATION_TOKENS, tokens=tokens, beside=beside)


def _is_the_studys(experiment: ExperimentSummary, row: Published) -> bool:
    """Model, sizes and settings; the batch may be another, as some replications had one of 8."""
    settings = experiment.settings
    same_run = (experiment.model, experiment.layers, experiment.optimizer) == (row.model, row.layers, row.optimizer)
    same_size = (settings.context, experiment.trainable_parameters) == (CONTEXT, trainable_parameters(row))
    untreated = (
        (settings.lr, settings.weight_decay, settings.epochs) == (LR, weight_decay(row.optimizer), EPOCHS)
        and settings.momentum in (None, MOMENTUM)
        and settings.beta2 in (None, BETA2)
        and settings.norm in (None, "post")
        and settings.schedule == "constant"
        and settings.clip is None
        and settings.patience is None
        and not (settings.dropout or settings.warmup or settings.label_smoothing)
    )
    return experiment.text.scale == SCALE and same_run and same_size and untreated


def _beside(experiment: ExperimentSummary, row: Published, reference: Reference, same_text: bool) -> Beside:
    repeated = [
        math.log(each.best_val_ppl)
        for each in reference.replications
        if each.experiment == row.experiment and each.batch == experiment.settings.batch
    ]
    own = [math.log(row.best_val_ppl)] if experiment.settings.batch == BATCH else []
    losses = [*own, *repeated] or [math.log(row.best_val_ppl)]
    low, high = min(losses), max(losses)
    place = None
    if same_text:
        deviation = reference.spread.of(SCALE, VOCABULARY, experiment.representative.course.kind)
        wider = math.sqrt(2) * t_quantile(deviation.freedom) * deviation.nats if deviation else 0.0
        place = _place(experiment.study_validation_loss.mean, low - wider, high + wider)
    return Beside(
        experiment=experiment,
        place=place,
        published_loss=math.log(row.best_val_ppl),
        published_best_epoch=row.best_epoch,
        published_seconds=row.train_seconds,
        published_memory=row.gpu_memory_mb,
        low=low,
        high=high,
        replications=len(repeated),
    )


def _place(loss: float | None, low: float, high: float) -> Place:
    if loss is None:
        return Place.DIVERGED
    if loss < low:
        return Place.LOWER
    return Place.HIGHER if loss > high else Place.WITHIN
