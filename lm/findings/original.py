"""What the original study said of its runs, held against what its own figures show.

A statement is right where every part of it is what the findings say, wrong where they say otherwise of any part, and
open where they cannot tell: single runs that lie no further apart than repetitions do, runs of which neither learned,
runs that were never made. The statements are data (:mod:`lm.results.claims`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lm.config.strict import did_you_mean
from lm.findings.cost import Choice
from lm.findings.judge import Judge
from lm.findings.limits import Limit
from lm.findings.limits import Topic as LimitTopic
from lm.findings.memory import Cause, compare_memory
from lm.findings.quality import Standing
from lm.findings.remedies import Result
from lm.findings.stopping import Outcome, Stopping
from lm.findings.study import Findings
from lm.findings.verdicts import Order, Reason, Verdict
from lm.results.claims import By, Claim, refused
from lm.results.names import model_name, optimizer_name
from lm.results.reference import Repeated
from lm.results.states import State
from lm.results.summary import ExperimentSummary, Summaries


class Truth(StrEnum):
    """What a statement is by the figures of the study that makes it."""

    RIGHT = "right"
    WRONG = "wrong"
    OPEN = "open"
    """Cannot be told from them."""


class Found(StrEnum):
    """What the findings say of two experiments."""

    LOWER = "lower"
    HIGHER = "higher"
    ALIKE = "alike"
    NEITHER_LEARNED = "neither_learned"
    """Their losses differ in how far they are from having learned anything: that compares nothing."""
    NOT_RUN = "not_run"
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True, kw_only=True)
class Side:
    """An experiment by its id, or one that the study never ran (``experiment`` None)."""

    id: str
    model_label: str
    layers: int
    optimizer_label: str
    experiment: ExperimentSummary | None


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Two experiments: what was said of the first against the second, and what the findings say."""

    first: Side
    second: Side
    said: Order
    found: Found
    verdict: Verdict | None
    truth: Truth


@dataclass(frozen=True, kw_only=True)
class Group:
    """Relations of which the same is found. ``smallest``, ``largest``: the size of their relative differences;
    ``bound``: the widest relative difference that repeating them would leave open. None where not comparable."""

    found: Found
    truth: Truth
    relations: tuple[Relation, ...]
    reasons: tuple[Reason, ...]
    smallest: float | None
    largest: float | None
    bound: float | None

    @property
    def pairs(self) -> tuple[tuple[Side, tuple[Side, ...]], ...]:
        """Each first side with all that it is held against."""
        found: dict[str, list[Relation]] = {}
        for relation in self.relations:
            found.setdefault(relation.first.id, []).append(relation)
        return tuple((own[0].first, tuple(relation.second for relation in own)) for own in found.values())

    @property
    def missing(self) -> tuple[Side, ...]:
        """The experiments that were never run."""
        sides = [side for relation in self.relations for side in (relation.first, relation.second)]
        return tuple({side.id: side for side in sides if side.experiment is None}.values())


class Property(StrEnum):
    """What may be said of how a run went."""

    OVERFITS = "overfits"
    NOT_OVERFITS = "not overfits"
    LEARNED = "learned"
    FALLS = "still falls"
    """Validation loss was still falling when training ended; open where it was best in the last epoch, yet did not fall
    clearly."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """One experiment: what was said of how it went, and whether it went so.

    ``last_training``: running training loss of the last epoch (nats a token)."""

    experiment: ExperimentSummary
    said: Property
    truth: Truth
    last_training: float | None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A statement and what the findings make of it; ``groups``, ``told`` and ``limit`` where it is judged by these."""

    claim: Claim
    truth: Truth
    groups: tuple[Group, ...] = ()
    told: tuple[Told, ...] = ()
    limit: Limit | None = None


class Unrecorded(StrEnum):
    """What a run of ours records and no run of the study did."""

    TEST = "test"
    """Test loss of the best epoch's weights."""
    TRAINING_SAMPLE = "training_sample"
    """Training loss with an epoch's final weights: only the running mean while they change."""
    PEAK = "peak"
    """Peak of a training step's memory, and what was in use before it."""
    SPEED = "speed"
    """Tokens a second by step."""


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """A published best validation loss beside independent repetitions of the same run: losses (nats a token) with the
    study's denominator. ``count``: repetitions with the study's batch size; ``low``, ``high``: of these and it."""

    experiment: ExperimentSummary
    published: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, kw_only=True)
class LastTest:
    """The experiment of lowest test loss with the last epoch's weights among those that learned, and by that loss the
    verdict of the best by validation against it; None where it is the same experiment."""

    best: ExperimentSummary
    leader: ExperimentSummary
    verdict: Verdict | None


@dataclass(frozen=True, kw_only=True)
class Original:
    """The original study held against its own figures; ``test`` is None where no last weights were scored."""

    judged: tuple[Judged, ...]
    unrecorded: tuple[Unrecorded, ...]
    repetitions: tuple[Repetition, ...]
    test: LastTest | None

    def about(self, topic: str) -> tuple[Judged, ...]:
        """What it said on one question."""
        return tuple(each for each in self.judged if each.claim.topic == topic)

    def that_are(self, truth: str) -> tuple[Judged, ...]:
        """Its statements of one truth."""
        return tuple(each for each in self.judged if each.truth == truth)


def original(
    findings: Findings, judge: Judge, claims: Sequence[Claim], replications: Iterable[Repeated], batch: int
) -> Original:
    """What becomes of each of ``claims``; ``judge`` is the one that ``findings`` are by, ``batch`` the study's.

    Raises :class:`StudyError` for a statement that cannot be read, naming it.
    """
    return Original(
        judged=tuple(_judged(claim, findings, judge) for claim in claims),
        unrecorded=_unrecorded(findings.summaries),
        repetitions=tuple(_repetitions(findings.summaries, replications, batch)),
        test=_last_test(findings, judge),
    )


def _judged(claim: Claim, findings: Findings, judge: Judge) -> Judged:
    if claim.by in _RELATIONS:
        groups = _groups(claim, [_relation(claim, each, findings, judge) for each in claim.says])
        return Judged(claim=claim, truth=_together(group.truth for group in groups), groups=groups)
    if claim.by is By.STATE:
        told = tuple(_told(claim, each, findings.summaries) for each in claim.says)
        return Judged(claim=claim, truth=_together(each.truth for each in told), told=told)
    if claim.by is By.LIMIT:
        return Judged(claim=claim, truth=Truth.OPEN, limit=_limit(claim, findings.limits))
    return Judged(claim=claim, truth=_WHOLE[claim.by](claim, findings, judge))


def _together(truths: Iterable[Truth]) -> Truth:
    found = set(truths)
    if Truth.WRONG in found:
        return Truth.WRONG
    return Truth.RIGHT if found == {Truth.RIGHT} else Truth.OPEN


def _side(claim: Claim, says: str, name: str, summaries: Summaries) -> Side:
    known = {experiment.id: experiment for experiment in summaries.experiments}
    if name in known:
        own = known[name]
        return Side(
            id=own.id,
            model_label=own.model_label,
            layers=own.layers,
            optimizer_label=own.optimizer_label,
            experiment=own,
        )
    named = re.fullmatch(r"(\w+)-(\d+)-(\w+)", name)
    if named is None:
        raise refused(claim, says, f"experiment: {did_you_mean(name, known)}")
    return Side(
        id=name,
        model_label=model_name(named[1]),
        layers=int(named[2]),
        optimizer_label=optimizer_name(named[3]),
        experiment=None,
    )


_SAID = {"<": Order.LOWER, ">": Order.HIGHER, "=": Order.ALIKE}


def _relation(claim: Claim, says: str, findings: Findings, judge: Judge) -> Relation:
    parts = re.fullmatch(r"(\S+)\s([<=>])\s(\S+)", says)
    if parts is None:
        raise refused(claim, says, "allowed: 1<5")
    first, second = (_side(claim, says, parts[place], findings.summaries) for place in (1, 3))
    said, verdict = _SAID[parts[2]], None
    if first.experiment is None or second.experiment is None:
        found = Found.NOT_RUN
    elif claim.by in (By.LOSS, By.TRAINING) and not (first.experiment.learned or second.experiment.learned):
        found = Found.NEITHER_LEARNED
    else:
        verdict = _RELATIONS[claim.by](first.experiment, second.experiment, findings, judge)
        found = Found.NOT_COMPARABLE if verdict is None else Found(verdict.order)
    truth = Truth.OPEN
    if found in (Found.LOWER, Found.HIGHER):
        truth = Truth.RIGHT if found.value == said.value else Truth.WRONG
    elif found is Found.ALIKE and said is Order.ALIKE:
        truth = Truth.RIGHT
    return Relation(first=first, second=second, said=said, found=found, verdict=verdict, truth=truth)


def _training(first: ExperimentSummary, second: ExperimentSummary, findings: Findings, judge: Judge) -> Verdict:
    del findings
    losses = ({run.seed: run.epochs[-1].train_loss for run in each.runs if run.epochs} for each in (first, second))
    return judge.losses(first, second, *losses)


def _stopped(first: ExperimentSummary, second: ExperimentSummary, findings: Findings, judge: Judge) -> Verdict | None:
    del judge
    for tally in findings.architectures.tallies if findings.architectures else ():
        for match in tally.matches:
            pair = match.comparison.first.id, match.comparison.second.id
            if match.stopped_time is not None and set(pair) == {first.id, second.id}:
                return match.stopped_time if pair[0] == first.id else match.stopped_time.reversed
    return None


_RELATIONS: Mapping[By, Callable[[ExperimentSummary, ExperimentSummary, Findings, Judge], Verdict | None]] = {
    By.LOSS: lambda first, second, _, judge: judge.loss(first, second),
    By.TRAINING: _training,
    By.TIME: lambda first, second, _, judge: judge.time(first, second),
    By.MEMORY: lambda first, second, findings, _: compare_memory(first, second, findings.memory.noise),
    By.STOPPED: _stopped,
}


def _groups(claim: Claim, relations: Sequence[Relation]) -> tuple[Group, ...]:
    """By what is found, in the order of ``Found``; a group is of one truth, for a claim says the same of its pairs."""
    if len({relation.said is Order.ALIKE for relation in relations}) > 1:
        raise refused(claim, ", ".join(claim.says), "mixed relations")
    groups: dict[tuple[Found, Truth], list[Relation]] = {}
    for relation in relations:
        groups.setdefault((relation.found, relation.truth), []).append(relation)
    return tuple(
        _group(found, truth, own)
        for (found, truth), own in sorted(groups.items(), key=lambda entry: list(Found).index(entry[0][0]))
    )


def _group(found: Found, truth: Truth, relations: Sequence[Relation]) -> Group:
    verdicts = [relation.verdict for relation in relations if relation.verdict is not None]
    sizes = [abs(verdict.ratio) for verdict in verdicts if verdict.ratio is not None]
    bounds = [verdict.bound_ratio for verdict in verdicts if verdict.bound_ratio is not None]
    reasons = dict.fromkeys(verdict.reason for verdict in verdicts if verdict.reason is not None)
    return Group(
        found=found,
        truth=truth,
        relations=tuple(relations),
        reasons=tuple(reasons),
        smallest=min(sizes, default=None),
        largest=max(sizes, default=None),
        bound=max(bounds, default=None),
    )


def _told(claim: Claim, says: str, summaries: Summaries) -> Told:
    name, _, word = says.partition(" ")
    words = [each.value for each in Property]
    if word not in words:
        raise refused(claim, says, did_you_mean(word, words))
    experiment = _side(claim, says, name, summaries).experiment
    if experiment is None:
        raise refused(claim, says, "never run")
    said = Property(word)
    losses = [run.epochs[-1].train_loss for run in experiment.runs if run.epochs]
    known = [loss for loss in losses if loss is not None]
    return Told(
        experiment=experiment,
        said=said,
        truth={True: Truth.RIGHT, False: Truth.WRONG, None: Truth.OPEN}[_holds(said, experiment)],
        last_training=math.fsum(known) / len(known) if known else None,
    )


def _holds(said: Property, experiment: ExperimentSummary) -> bool | None:
    if said is Property.LEARNED:
        return experiment.learned
    if said is Property.FALLS:
        course = experiment.representative.course
        if experiment.state is State.DIVERGED or course.falling:
            return experiment.state is not State.DIVERGED
        return None if course.falling is None or course.best_epoch == course.epochs_done - 1 else False
    if experiment.state is State.SHORT:
        return None
    return (experiment.state is State.OVERFITTING) is (said is Property.OVERFITS)


def _limit(claim: Claim, limits: Iterable[Limit]) -> Limit:
    (says,) = claim.says if len(claim.says) == 1 else ("",)
    known = {str(limit.topic): limit for limit in limits}
    if says not in set(LimitTopic) or says not in known:
        raise refused(claim, says, f"limit: {did_you_mean(says, known)}")
    return known[says]


def _experiments(claim: Claim, summaries: Summaries) -> list[ExperimentSummary | None]:
    """Those that a statement names; None for one that was never run."""
    return [_side(claim, says, says, summaries).experiment for says in claim.says]


def _best(claim: Claim, findings: Findings, judge: Judge) -> Truth:
    del judge
    said, quality = _experiments(claim, findings.summaries), findings.quality
    if quality.best is None:
        return Truth.OPEN
    if said == [quality.best]:
        return Truth.RIGHT if quality.standing is Standing.ONE_BEST else Truth.OPEN
    return Truth.OPEN if all(each in (None, quality.best, *quality.alike) for each in said) else Truth.WRONG


def _choice(claim: Claim, findings: Findings, judge: Judge) -> Truth:
    said, clock = _experiments(claim, findings.summaries), findings.wall_clock
    if clock.choice is Choice.NOTHING or clock.pick is None or len(said) != 1 or said[0] is None:
        return Truth.OPEN
    taken = clock.pick.experiment
    if said[0] == taken:
        return Truth.RIGHT
    orders = {judge.time(said[0], taken).order, judge.loss(said[0], taken).order}
    return Truth.OPEN if orders == {Order.ALIKE} else Truth.WRONG


def _cause(claim: Claim, findings: Findings, judge: Judge) -> Truth:
    del judge
    if claim.says != ("state",):
        raise refused(claim, ", ".join(claim.says), "allowed: state")
    causes = {gap.cause for gap in findings.memory.gaps}
    if Cause.NOT_STATE in causes:
        return Truth.WRONG
    return Truth.RIGHT if causes == {Cause.STATE} else Truth.OPEN


def _stopping(claim: Claim, findings: Findings, judge: Judge) -> Truth:
    """Whether early stopping would have stopped those it is said to stop, and harmed none."""
    del judge
    if findings.stopping.outcome is Outcome.COSTS_QUALITY:
        return Truth.WRONG
    return _together(_is_stopped(each, findings.stopping) for each in _experiments(claim, findings.summaries))


def _is_stopped(experiment: ExperimentSummary | None, stopping: Stopping) -> Truth:
    """Open for one that was never run, or of which no run can be replayed."""
    if experiment is None or not stopping.of(experiment.id, stopping.patience):
        return Truth.OPEN
    return Truth.RIGHT if experiment in stopping.stopped else Truth.WRONG


def _remedy(claim: Claim, findings: Findings, judge: Judge) -> Truth:
    del judge
    if claim.says != ("helps",):
        raise refused(claim, ", ".join(claim.says), "allowed: helps")
    results = {each.result for each in findings.treated}
    if Result.WORSE in results:
        return Truth.WRONG
    return Truth.RIGHT if results == {Result.HELPED} else Truth.OPEN


_WHOLE: Mapping[By, Callable[[Claim, Findings, Judge], Truth]] = {
    By.BEST: _best,
    By.CHOICE: _choice,
    By.CAUSE: _cause,
    By.STOPPING: _stopping,
    By.REMEDY: _remedy,
}


def _unrecorded(summaries: Summaries) -> tuple[Unrecorded, ...]:
    every = summaries.experiments
    runs = [run for experiment in every for run in experiment.runs]
    recorded = {
        Unrecorded.TEST: any(run.test_loss is not None for run in runs),
        Unrecorded.TRAINING_SAMPLE: any(epoch.train_eval_loss is not None for run in runs for epoch in run.epochs),
        Unrecorded.PEAK: any(experiment.memory.footprint is not None for experiment in every),
        Unrecorded.SPEED: any(run.tokens_per_second is not None for run in runs),
    }
    return tuple(what for what in Unrecorded if not recorded[what])


def _last_test(findings: Findings, judge: Judge) -> LastTest | None:
    best = findings.quality.best
    if best is None or best.last_test_loss.mean is None:
        return None
    tested = [
        (each.last_test_loss.mean, each)
        for each in findings.summaries.experiments
        if each.learned and each.last_test_loss.mean is not None
    ]
    leader = min(tested, key=lambda entry: entry[0])[1]
    losses = ({run.seed: run.last_test_loss for run in each.runs} for each in (best, leader))
    return LastTest(best=best, leader=leader, verdict=None if leader is best else judge.losses(best, leader, *losses))


def _repetitions(summaries: Summaries, replications: Iterable[Repeated], batch: int) -> Iterable[Repetition]:
    repeated: dict[str, list[float]] = {}
    for each in replications:
        if each.batch == batch:
            repeated.setdefault(each.experiment, []).append(math.log(each.best_val_ppl))
    for experiment in summaries.experiments:
        published, others = experiment.study_validation_loss.mean, repeated.get(experiment.id, [])
        if published is not None:
            yield Repetition(
                experiment=experiment,
                published=published,
                low=min([published, *others]),
                high=max([published, *others]),
                count=len(others),
            )
