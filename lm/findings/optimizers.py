"""Optimizers, compared within each architecture at the depth where most of them are.

Their learning rates are the configured ones: what loses here may only be mistuned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from lm.findings.judge import Judge, Pair
from lm.findings.verdicts import Comparison, Learned, Order, Verdict
from lm.results.summary import ExperimentSummary, Summaries, lowest


class Question(StrEnum):
    """What is asked about optimizers."""

    WEIGHT_DECAY = "weight_decay"
    MOMENTUM = "momentum"
    ADAPTIVITY = "adaptivity"


class Effect(StrEnum):
    """What having the thing does, over the pairs in which at least one side learned to use context."""

    HELPS = "helps"
    HURTS = "hurts"
    ALIKE = "alike"
    """No pair tells them apart."""
    PARTLY_HELPS = "partly_helps"
    """Helps in some pairs, in the others they can't be told apart or compared."""
    PARTLY_HURTS = "partly_hurts"
    MIXED = "mixed"
    """Helps in some, hurts in others."""
    NOT_COMPARABLE = "not_comparable"
    NONE_LEARNED = "none_learned"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question about optimizers: ``pairs`` stand one an architecture; ``comparison.first`` has what is asked
    about (the adaptive optimizer, momentum, decoupled weight decay)."""

    question: Question
    effect: Effect
    pairs: tuple[Comparison, ...]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The learning rates that an optimizer ran at in the compared experiments, ascending."""

    optimizer: str
    optimizer_label: str
    rates: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Rank:
    """One optimizer within one architecture; ``behind``: it against the best optimizer there, None for the best, or
    where none there learned to use context (then nothing is ranked)."""

    experiment: ExperimentSummary
    behind: Verdict | None
    best: bool


@dataclass(frozen=True, kw_only=True)
class Optimizers:
    """``layers``: the depth at which they are compared. ``ranks``: each architecture's optimizers, by loss."""

    layers: int
    answers: tuple[Answer, ...]
    rates: tuple[Rates, ...]
    ranks: tuple[Rank, ...]


ADAPTIVE, PLAIN = ("adam", "adamw"), ("sgd", "momentum")
_WITH_AND_WITHOUT = {Question.WEIGHT_DECAY: ("adamw", "adam"), Question.MOMENTUM: ("momentum", "sgd")}


def original_only(summaries: Summaries) -> list[ExperimentSummary]:
    """The experiments that were not made from another by ``of``: those differ in more than what is asked about here."""
    return [experiment for experiment in summaries.experiments if experiment.of is None]


def optimizer_pairs(summaries: Summaries) -> dict[Question, list[Pair]]:
    """By question, the pairs of ids that answer it, the one that has what is asked about first; one an architecture."""
    found: dict[Question, list[Pair]] = {}
    for named in _by_model(summaries)[1].values():
        for question, (having, lacking) in _WITH_AND_WITHOUT.items():
            if having in named and lacking in named:
                found.setdefault(question, []).append((named[having].id, named[lacking].id))
        adaptive, plain = (_lowest_loss(named, names) for names in (ADAPTIVE, PLAIN))
        if adaptive is not None and plain is not None:
            found.setdefault(Question.ADAPTIVITY, []).append((adaptive.id, plain.id))
    return {question: found[question] for question in Question if question in found}


def optimizers(judge: Judge) -> Optimizers | None:
    """Weight decay, momentum and adaptivity within each architecture, and each optimizer against the best there."""
    summaries = judge.summaries
    layers, models = _by_model(summaries)
    if not any(len(named) > 1 for named in models.values()):
        return None
    answers = []
    for question, pairs in optimizer_pairs(summaries).items():
        compared = tuple(judge.compare(summaries[first], summaries[second]) for first, second in pairs)
        answers.append(Answer(question=question, effect=effect_of(compared), pairs=compared))
    shown = [experiment for named in models.values() for experiment in named.values()]
    rates: dict[str, set[float]] = {}
    for experiment in shown:
        rates.setdefault(experiment.optimizer, set()).add(experiment.settings.lr)
    labels = {experiment.optimizer: experiment.optimizer_label for experiment in shown}
    return Optimizers(
        layers=layers,
        answers=tuple(answers),
        rates=tuple(Rates(optimizer=o, optimizer_label=labels[o], rates=tuple(sorted(rates[o]))) for o in rates),
        ranks=tuple(rank for named in models.values() for rank in _ranks(list(named.values()), judge)),
    )


def effect_of(pairs: Iterable[Comparison]) -> Effect:
    """What several pairs come to; only those in which at least one side learned to use context count."""
    pairs = list(pairs)
    told = [pair.verdict.order for pair in pairs if pair.learned is not Learned.NEITHER]
    if not told:
        return Effect.NONE_LEARNED if any(pair.verdict.comparable for pair in pairs) else Effect.NOT_COMPARABLE
    comparable = [order for order in told if order is not Order.NOT_COMPARABLE]
    if not comparable:
        return Effect.NOT_COMPARABLE
    helps, hurts = Order.LOWER in comparable, Order.HIGHER in comparable
    if helps and hurts:
        return Effect.MIXED
    if not helps and not hurts:
        return Effect.ALIKE
    if all(order is comparable[0] for order in told):
        return Effect.HELPS if helps else Effect.HURTS
    return Effect.PARTLY_HELPS if helps else Effect.PARTLY_HURTS


def _by_model(summaries: Summaries) -> tuple[int, dict[str, dict[str, ExperimentSummary]]]:
    """The depth with most optimizers (of equals the shallowest), and its experiments by model and optimizer."""
    at_depth: dict[int, dict[str, dict[str, ExperimentSummary]]] = {}
    for experiment in original_only(summaries):
        at_depth.setdefault(experiment.layers, {}).setdefault(experiment.model, {}).setdefault(
            experiment.optimizer, experiment
        )
    if not at_depth:
        return 0, {}
    layers = min(at_depth, key=lambda depth: (-sum(map(len, at_depth[depth].values())), depth))
    return layers, at_depth[layers]


def _lowest_loss(named: dict[str, ExperimentSummary], names: tuple[str, ...]) -> ExperimentSummary | None:
    """The best of some optimizers; one that only diverged stands in where there is no other."""
    present = [named[name] for name in names if name in named]
    known = [(e.validation_loss.mean, e) for e in present if e.validation_loss.mean is not None]
    return min(known, key=lambda entry: entry[0])[1] if known else next(iter(present), None)


def _ranks(experiments: list[ExperimentSummary], judge: Judge) -> list[Rank]:
    best = lowest(experiments)
    by_loss = sorted(
        experiments, key=lambda e: (e.validation_loss.mean is None, e.validation_loss.mean or 0.0, not e.learned)
    )
    return [
        Rank(
            experiment=experiment,
            behind=None if best is None or experiment is best else judge.loss(experiment, best),
            best=experiment is best,
        )
        for experiment in by_loss
    ]
