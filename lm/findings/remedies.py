"""What to try next, by how each run ended, and what came of what was tried."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from lm.config.architectures import ARCHITECTURES
from lm.findings.judge import Judge, Pair
from lm.findings.optimizers import PLAIN
from lm.findings.verdicts import Comparison, Ground, Order, Verdict
from lm.results.states import State
from lm.results.summary import ExperimentSummary, Settings, Summaries


class Why(StrEnum):
    """Why a line may help: one macro of the report each."""

    FIRST_STEPS_TOO_LARGE = "first_steps_too_large"
    """A deep post-norm GPT on the plateau: warm-up."""
    NORM_PLACE = "norm_place"
    """A deep post-norm GPT on the plateau: pre-norm."""
    RATE_TOO_LARGE = "rate_too_large"
    """Stuck under an adaptive optimizer or at a high rate, or diverged: a smaller rate."""
    GRADIENTS_TOO_LARGE = "gradients_too_large"
    """A recurrent network stuck, or diverged: clipping."""
    RATE_TOO_SMALL = "rate_too_small"
    """SGD or Momentum at its start or above the unigram model: the rate by decades."""
    STILL_FALLING = "still_falling"
    """Longer."""
    ONE_EPOCH = "one_epoch"
    """One epoch tells nothing: longer."""
    TOO_LITTLE_TEXT = "too_little_text"
    """Overfitting or a wide gap: more text."""
    UNREGULARIZED = "unregularized"
    """Overfitting or a wide gap: dropout."""
    STOP_AT_BEST = "stop_at_best"
    """Overfitting: patience."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to do for the experiments it is meant for, and the line to type for the first of them.

    ``settings``: keys and values of ``-S``, for all. They add an experiment made by ``of`` for each, so that what came
    of it stands beside the untreated run in the next report; ``everyone``: instead they change a key that all
    experiments share, so that all are trained again.
    """

    why: Why
    experiments: tuple[ExperimentSummary, ...]
    settings: tuple[tuple[str, str], ...]
    command: str
    everyone: bool


class Result(StrEnum):
    """What came of a remedy."""

    HELPED = "helped"
    DID_NOT = "did_not"
    """Can't be told from the untreated run although repetitions were measured (several seeds, or a known spread)."""
    WORSE = "worse"
    UNKNOWN = "unknown"
    """Can't be told: not comparable, or nothing was measured that a difference could be held against."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A setting that the treated experiment changes, before and after (None: not set there)."""

    key: str
    before: object
    after: object


@dataclass(frozen=True, kw_only=True)
class Treated:
    """An experiment made by ``of`` (``comparison.first``) against the one that it comes from (``comparison.second``).

    ``time``: its training time against the other's.
    """

    comparison: Comparison
    changes: tuple[Change, ...]
    time: Verdict
    result: Result


WARMUP, DROPOUT, CLIP, PATIENCE = 0.1, 0.2, 1.0, 2
_DECADES = {"sgd": (100, 1000), "momentum": (10, 100)}
"""Times the rate: SGD needs the larger steps, for momentum 0.9 makes each ten times as long."""
_HIGHEST = {"sgd": 30.0, "momentum": 10.0}
"""Rates beyond which none is advised: the highest that LSTMs are trained with, which want larger ones than GPTs."""
_SMALLER, _LARGER, _MUCH_SMALLER = 0.3, 3.0, 0.1
_LONGER, _MORE_TEXT = 2, 3

Line = tuple[Why, str, dict[str, Any]]
"""Why, how the new experiment's id begins, and what its line changes."""


def treated_pairs(summaries: Summaries) -> list[Pair]:
    """Each experiment made by ``of`` with the one that it comes from, where both are in the study."""
    known = {experiment.id for experiment in summaries.experiments}
    return [(e.id, e.of) for e in summaries.experiments if e.of is not None and e.of in known]


def treated(judge: Judge) -> tuple[Treated, ...]:
    """What came of what was tried."""
    summaries = judge.summaries
    found = []
    for first, second in treated_pairs(summaries):
        ours, theirs = summaries[first], summaries[second]
        comparison = judge.compare(ours, theirs)
        found.append(
            Treated(
                comparison=comparison,
                changes=tuple(_changes(ours, theirs)),
                time=judge.time(ours, theirs),
                result=_result(comparison),
            )
        )
    return tuple(found)


def _result(comparison: Comparison) -> Result:
    verdict, first, second = comparison.verdict, comparison.first, comparison.second
    if not verdict.comparable:
        # a run that diverged has no loss; that the other learned says enough
        if State.DIVERGED in (first.state, second.state) and first.learned != second.learned:
            return Result.HELPED if first.learned else Result.WORSE
        return Result.UNKNOWN
    if verdict.order is Order.LOWER:
        return Result.HELPED
    if verdict.order is Order.HIGHER:
        return Result.WORSE
    return Result.DID_NOT if verdict.ground in (Ground.INTERVAL, Ground.SPREAD, Ground.TRIFLE) else Result.UNKNOWN


def _changes(ours: ExperimentSummary, theirs: ExperimentSummary) -> Iterator[Change]:
    for key in ("model", "layers", "optimizer"):
        before, after = getattr(theirs, key), getattr(ours, key)
        if before != after:
            yield Change(key=key, before=before, after=after)
    for field in fields(Settings):
        before, after = getattr(theirs.settings, field.name), getattr(ours.settings, field.name)
        if field.name == "sizes":
            sizes = dict(before), dict(after)
            for size in dict.fromkeys([*sizes[0], *sizes[1]]):
                if sizes[0].get(size) != sizes[1].get(size):
                    yield Change(key=size, before=sizes[0].get(size), after=sizes[1].get(size))
        elif before != after:
            yield Change(key=field.name, before=before, after=after)


def advice(summaries: Summaries, params: dict[str, Any], base: Sequence[tuple[str, str]] = ()) -> tuple[Advice, ...]:
    """A line for each cause. None is offered that was tried, that would change nothing, or whose key params.yaml lacks.

    ``params``: params.yaml as read; ``base``: settings under which these experiments ran and params.yaml's do not, with
    which every line begins.
    """
    meant: dict[tuple[Why, str], list[ExperimentSummary]] = {}
    settings: dict[tuple[Why, str], list[tuple[str, str]]] = {}
    short: list[ExperimentSummary] = []
    for experiment in summaries.experiments:
        if experiment.of is not None:
            continue
        if _lacks_text(experiment):
            short.append(experiment)
        for why, beginning, changes in _lines(experiment):
            # a key that begins with a digit or has a dot does not pass the parser of -S
            name = f"{beginning}_{experiment.id.replace('.', '_')}"
            if name in (params.get("experiments") or {}) or _tried(summaries, experiment, changes):
                continue
            # what is done to a rate differs by optimizer, so that a line each is shorter and says more
            cause = why, experiment.optimizer if why is Why.RATE_TOO_SMALL else ""
            if experiment not in meant.setdefault(cause, []):
                meant[cause].append(experiment)
            settings.setdefault(cause, []).append((f"+experiments.{name}", _line(experiment.id, changes)))
    causes = sorted(meant, key=lambda cause: list(Why).index(cause[0]))
    found = [_advice(cause[0], meant[cause], settings[cause], base, everyone=False) for cause in causes]
    more = _more_text(short, params, base)
    return (*found, more) if more is not None else tuple(found)


def _lines(experiment: ExperimentSummary) -> Iterator[Line]:
    """What may mend one experiment, by how it ended. Longer training is for those that it can help."""
    state, settings, course = experiment.state, experiment.settings, experiment.representative.course
    lr, longer = settings.lr, {"epochs": _LONGER * settings.epochs}
    if state is State.DIVERGED:
        yield Why.RATE_TOO_LARGE, "slower", {"lr": _rounded(lr * _MUCH_SMALLER)}
        if settings.clip is None:
            yield Why.GRADIENTS_TOO_LARGE, "clip", {"clip": CLIP}
    elif not state.learned:
        yield from _stuck(experiment)
    elif state is State.SHORT and not course.wide_gap:
        yield Why.ONE_EPOCH, "longer", longer
    elif state is State.UNDERTRAINED and not course.wide_gap:
        if experiment.optimizer in PLAIN and 10 * lr <= _HIGHEST[experiment.optimizer]:
            yield Why.RATE_TOO_SMALL, "rate10", {"lr": _rounded(lr * 10)}
        yield Why.STILL_FALLING, "longer", longer
    if state is State.OVERFITTING or (state.learned and course.wide_gap):
        if settings.dropout == 0:
            yield Why.UNREGULARIZED, "dropout", {"dropout": DROPOUT}
        if state is State.OVERFITTING and settings.patience is None and _would_stop(experiment):
            yield Why.STOP_AT_BEST, "patience", {"patience": PATIENCE}


def _stuck(experiment: ExperimentSummary) -> Iterator[Line]:
    """For a run that did not learn to use context, and did not diverge."""
    settings, falling = experiment.settings, experiment.representative.course.falling
    lr = settings.lr
    if experiment.optimizer in PLAIN:
        larger = [each for each in _DECADES[experiment.optimizer] if lr * each <= _HIGHEST[experiment.optimizer]]
        for factor in larger:
            yield Why.RATE_TOO_SMALL, f"rate{factor}", {"lr": _rounded(lr * factor)}
        if not larger:
            yield Why.RATE_TOO_LARGE, "slower", {"lr": _rounded(lr * _SMALLER)}
        return
    if falling is None:
        yield Why.ONE_EPOCH, "longer", {"epochs": _LONGER * settings.epochs}
        return
    if falling:
        yield Why.STILL_FALLING, "longer", {"epochs": _LONGER * settings.epochs}
    if experiment.state is State.START and falling:
        yield Why.RATE_TOO_SMALL, "rate10", {"lr": _rounded(lr * 10)}
    elif "norm" not in ARCHITECTURES[experiment.model].settings:
        if settings.clip is None:
            yield Why.GRADIENTS_TOO_LARGE, "clip_slower", {"clip": CLIP, "lr": _rounded(lr * _SMALLER)}
            yield Why.GRADIENTS_TOO_LARGE, "clip_faster", {"clip": CLIP, "lr": _rounded(lr * _LARGER)}
        else:
            yield Why.RATE_TOO_LARGE, "slower", {"lr": _rounded(lr * _SMALLER)}
    else:
        if experiment.layers > 1 and settings.norm == "post":
            if settings.warmup == 0:
                yield Why.FIRST_STEPS_TOO_LARGE, "warmup", {"warmup": WARMUP}
            yield Why.NORM_PLACE, "prenorm", {"norm": "pre"}
        yield Why.RATE_TOO_LARGE, "slower", {"lr": _rounded(lr * _SMALLER)}


def _lacks_text(experiment: ExperimentSummary) -> bool:
    wide = experiment.learned and experiment.representative.course.wide_gap
    return experiment.state is State.OVERFITTING or wide


def _would_stop(experiment: ExperimentSummary) -> bool:
    """Whether the patience advised ends the run before its last epoch."""
    run = experiment.representative
    best = run.course.best_epoch
    return best is not None and best + PATIENCE < len(run.epochs) - 1


def _tried(summaries: Summaries, experiment: ExperimentSummary, changes: dict[str, Any]) -> bool:
    treated_ones = [other for other in summaries.experiments if other.of == experiment.id]
    return any(all(getattr(e.settings, key) == value for key, value in changes.items()) for e in treated_ones)


def _more_text(
    experiments: list[ExperimentSummary], params: dict[str, Any], base: Sequence[tuple[str, str]]
) -> Advice | None:
    if not experiments:
        return None
    key = f"scales.{experiments[0].text.scale}.tokenizer.train_share"
    share = lookup(params, key)
    if not isinstance(share, int | float) or not 0 < share < 1:
        return None
    value = f"{_rounded(min(1.0, _MORE_TEXT * share)):g}"
    return _advice(Why.TOO_LITTLE_TEXT, experiments, [(key, value)], base, everyone=True)


def _advice(
    why: Why,
    experiments: list[ExperimentSummary],
    settings: list[tuple[str, str]],
    base: Sequence[tuple[str, str]],
    *,
    everyone: bool,
) -> Advice:
    first = [(key, value) for key, value in settings if everyone or value.startswith(_base(experiments[0].id))]
    words = [word for key, value in [*base, *first] for word in ("-S", f"{key}={value}")]
    return Advice(
        why=why,
        experiments=tuple(experiments),
        settings=tuple(settings),
        command=" ".join(["dvc", "exp", "run", *map(_quoted, words)]),
        everyone=everyone,
    )


def _quoted(word: str) -> str:
    """For a shell; in double quotes where single ones stand in the word and nothing in it means anything to a shell."""
    if "'" in word and not set(word) & set('$`"\\!'):
        return f'"{word}"'
    return shlex.quote(word)


def _line(experiment: str, changes: dict[str, Any]) -> str:
    """An experiment's line as Hydra's parser, which ``-S`` goes through, reads it; the id in quotes stays text."""
    shown = ", ".join(
        f"{key}: {value:g}" if isinstance(value, float) else f"{key}: {value}" for key, value in changes.items()
    )
    return f"{_base(experiment)}{shown}}}"


def _base(experiment: str) -> str:
    return f"{{of: '{experiment}', "


def _rounded(value: float) -> float:
    """To three significant figures, so that 0.001 times 0.3 is 0.0003."""
    return float(f"{value:.3g}")


def lookup(params: dict[str, Any], dotted: str) -> Any:
    """The value at a dotted key of params.yaml, None if it has no such key."""
    value: Any = params
    for part in dotted.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value
