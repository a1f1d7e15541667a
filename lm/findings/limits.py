"""How sure the report may be, and what a reader can't learn from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from lm.findings.judge import TRIFLE, Judge
from lm.results.load import Answers
from lm.results.spread import Spread as Measured
from lm.results.states import Kind
from lm.results.statistics import t_quantile
from lm.results.summary import ExperimentSummary, Summaries


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Measured spread over seeds of one kind of run at one scale. ``deviation``: standard deviation of the loss, nats;
    ``freedom``: its degrees of freedom; ``bound``: difference of two such single runs (nats) that must be exceeded;
    ``borrowed``: no figure for this scale and kind, the widest known of the kind stands in, widened."""

    scale: str
    kind: Kind
    deviation: float
    freedom: int
    bound: float
    borrowed: bool


@dataclass(frozen=True, kw_only=True)
class Certainty:
    """``fewest``, ``most``: seeds of an experiment; ``spreads``: what single runs of this study are judged by, for
    each kind of run that occurs (empty if none is known); ``comparisons``: of the largest family, for Holm."""

    fewest: int
    most: int
    spreads: tuple[Spread, ...]
    comparisons: int
    trifle: float
    """Relative difference of perplexity below which nothing is called a difference, however sure."""


class Topic(StrEnum):
    """What can't be concluded: one macro of the report each."""

    ONE_SEED = "one_seed"
    FEW_SEEDS = "few_seeds"
    NO_SPREAD = "no_spread"
    UNTUNED = "untuned"
    SIZES = "sizes"
    OTHER_TEXT = "other_text"
    LONGER = "longer"
    UNLIKE_HARDWARE = "unlike_hardware"
    DISTURBED = "disturbed"
    ELSEWHERE = "elsewhere"
    RESUMED = "resumed"


@dataclass(frozen=True, kw_only=True)
class Size:
    """An architecture's shallowest experiment's parameters."""

    model: str
    model_label: str
    layers: int
    parameters: int | None


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One thing that can't be concluded; the fields that its topic does not use are empty.

    ``seeds``: fewest; ``sizes``: of SIZES; ``corpus``, ``tokens``, ``epochs``: of OTHER_TEXT and LONGER (the most);
    ``experiments``: of ONE_SEED (those with a single one), UNLIKE_HARDWARE, DISTURBED and RESUMED.
    """

    topic: Topic
    seeds: int = 0
    sizes: tuple[Size, ...] = ()
    corpus: str = ""
    tokens: int | None = None
    epochs: int | None = None
    experiments: tuple[ExperimentSummary, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """What the controlled study says of these runs' open questions: ``answered``; nothing where it ran on other text,
    at another scale or budget (``applies``)."""

    applies: bool
    answered: tuple[Topic, ...]
    answers: Answers


FEW_SEEDS = 5
"""Below this many seeds, only large differences can be told."""


def certainty(judge: Judge, measured: Measured) -> Certainty:
    """What differences have to exceed in this study."""
    experiments = judge.summaries.experiments
    counts = [len(experiment.runs) for experiment in experiments]
    spreads: dict[tuple[str, int, Kind], Spread] = {}
    for experiment in experiments:
        if len(experiment.runs) > 1:
            continue
        key = (experiment.text.scale, experiment.text.vocabulary, experiment.runs[0].course.kind)
        deviation = measured.of(*key)
        if deviation is not None:
            spreads[key] = Spread(
                scale=key[0],
                kind=key[2],
                deviation=deviation.nats,
                freedom=deviation.freedom,
                bound=t_quantile(deviation.freedom) * math.sqrt(2) * deviation.nats,
                borrowed=deviation.borrowed,
            )
    return Certainty(
        fewest=min(counts),
        most=max(counts),
        spreads=tuple(sorted(spreads.values(), key=lambda spread: (spread.scale, list(Kind).index(spread.kind)))),
        comparisons=judge.largest_family,
        trifle=math.expm1(TRIFLE),
    )


def limits(summaries: Summaries, certainty: Certainty) -> tuple[Limit, ...]:
    """What a reader can't learn from these results."""
    experiments = summaries.experiments
    found = []
    single = tuple(experiment for experiment in experiments if len(experiment.runs) == 1)
    if single:
        found.append(Limit(topic=Topic.ONE_SEED, seeds=1, experiments=single))
        if not certainty.spreads:
            found.append(Limit(topic=Topic.NO_SPREAD, experiments=single))
    elif certainty.fewest < FEW_SEEDS:
        found.append(Limit(topic=Topic.FEW_SEEDS, seeds=certainty.fewest))
    if len({experiment.optimizer for experiment in experiments}) > 1:
        found.append(Limit(topic=Topic.UNTUNED))
    sizes = _sizes(summaries)
    if len(sizes) > 1:
        found.append(Limit(topic=Topic.SIZES, sizes=sizes))
    text = experiments[0].text
    found.append(Limit(topic=Topic.OTHER_TEXT, corpus=text.corpus))
    tokens = [experiment.text.train_tokens for experiment in experiments if experiment.text.train_tokens is not None]
    epochs = max(experiment.settings.epochs for experiment in experiments)
    found.append(Limit(topic=Topic.LONGER, tokens=max(tokens, default=None), epochs=epochs))
    for topic, own in (
        (Topic.UNLIKE_HARDWARE, tuple(e for e in experiments if e.hardware_mark)),
        (Topic.DISTURBED, tuple(e for e in experiments if e.disturbed)),
    ):
        if own:
            found.append(Limit(topic=topic, experiments=own))
    found.append(Limit(topic=Topic.ELSEWHERE))
    resumed = tuple(e for e in experiments if any(run.resumed for run in e.runs))
    if resumed:
        found.append(Limit(topic=Topic.RESUMED, experiments=resumed))
    return tuple(found)


def elsewhere(summaries: Summaries, found: tuple[Limit, ...], answers: Answers | None) -> Elsewhere | None:
    """Which of these limits the controlled study lifts; None where there is no such study."""
    if answers is None:
        return None
    applies = all(
        (own.text.fingerprint, own.text.scale, own.text.vocabulary) == (answers.text, answers.scale, answers.vocabulary)
        and budget_of(own) == answers.budget
        for own in summaries.experiments
        if own.of is None
    )
    answered = tuple(limit.topic for limit in found if applies and limit.topic in answers.answered)
    return Elsewhere(applies=applies, answered=answered, answers=answers)


def budget_of(experiment: ExperimentSummary) -> tuple[int, ...]:
    """Epochs, batch (windows), context (tokens) and, where known, width: what else decides whether runs compare."""
    settings = experiment.settings
    return (settings.epochs, settings.batch, settings.context, *((settings.width,) if settings.width else ()))


def _sizes(summaries: Summaries) -> tuple[Size, ...]:
    shallowest: dict[str, ExperimentSummary] = {}
    for experiment in summaries.experiments:
        before = shallowest.get(experiment.model)
        if before is None or experiment.layers < before.layers:
            shallowest[experiment.model] = experiment
    return tuple(
        Size(model=e.model, model_label=e.model_label, layers=e.layers, parameters=e.parameters)
        for e in shallowest.values()
    )
