"""One record an experiment, made once from its runs and passed on to findings, tables and figures.

Losses are nats a token; perplexity is always exp of a loss, of a mean one where there are several seeds, so that a
table, a figure and a sentence never name two perplexities of one experiment. What was not measured is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lm.results.states import Course, State
from lm.results.statistics import Estimate


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run was configured with, as resolved; None where the architecture or optimizer does not take it.

    ``sizes`` are the architecture's own (``lstm_hidden``, ``heads``, ``mlp``, …), in the registry's order.
    """

    lr: float
    weight_decay: float | None
    momentum: float | None
    beta2: float | None
    epochs: int
    batch: int
    context: int
    width: int | None
    sizes: tuple[tuple[str, int], ...]
    norm: str | None
    dropout: float
    warmup: float
    schedule: str
    clip: float | None
    label_smoothing: float
    patience: int | None
    shards: int


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of a run: losses (nats a token) and times (s)."""

    epoch: int
    train_loss: float | None
    train_eval_loss: float | None
    validation_loss: float | None
    train_seconds: float | None
    validation_seconds: float | None
    tokens_per_second: float | None
    process_cpu_seconds: float | None
    other_cpu_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run. ``validation_loss``, ``test_loss``: with the best epoch's weights; None where it diverged."""

    seed: int
    course: Course
    epochs: tuple[Epoch, ...]
    validation_loss: float | None
    test_loss: float | None
    last_validation_loss: float | None
    last_test_loss: float | None
    train_loss: float | None
    train_eval_loss: float | None
    train_seconds: float | None
    validation_seconds: float | None
    tokens_per_second: float | None
    stopped_early: bool
    disturbed: bool
    """Other processes took so much of the processor that its times say nothing (``DISTURBED``)."""
    elsewhere: bool
    """Measured on other hardware than most runs of its experiment: its time and memory are in no mean."""
    setting: str
    """Hardware, threads, versions and runs at once, in words: runs that differ in it are listed apart."""
    resumed: int
    revision: str | None
    precision: str | None

    @property
    def state(self) -> State:
        """How the run ended."""
        return self.course.state


def timed_alike(runs: Sequence[Run]) -> list[Run]:
    """The runs whose times are told together: whole ones on the experiment's hardware, the undisturbed alone where
    there are any."""
    here = [run for run in runs if run.state is not State.DIVERGED and not run.elsewhere]
    return [run for run in here if not run.disturbed] or here


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory in MiB, means over the seeds on the experiment's hardware. ``footprint``: the training step's peak above
    the baseline, scoring's and checkpointing's apart. ``parameters`` to ``logits``: what the memory model accounts for.
    """

    peak: float | None
    mean: float | None
    baseline: float | None
    footprint: float | None
    scoring: float | None
    checkpoint: float | None
    gpu_reserved: float | None
    nvml: float | None
    measure: str | None
    parameters: float | None
    gradients: float | None
    optimizer: float | None
    activations: float | None
    logits: float | None


@dataclass(frozen=True, kw_only=True)
class Text:
    """What was predicted: two experiments' losses compare only where this is the same.

    Tokens are those predicted; ``fingerprint`` is the validation tokens' SHA-256; ``uniform_loss`` is ln V; the unigram
    model's losses are nats a token.
    """

    corpus: str
    scale: str
    vocabulary: int
    fingerprint: str | None
    train_tokens: int | None
    validation_tokens: int | None
    validation_bytes: int | None
    test_tokens: int | None
    uniform_loss: float
    unigram_loss: float
    unigram_test_loss: float | None


@dataclass(frozen=True, kw_only=True)
class ExperimentSummary:
    """An experiment over its seeds.

    ``state`` is that of most seeds (of equals, the worse); ``of``: the experiment that it was made from by ``of`` in
    params.yaml. Estimates are means over the seeds that did not diverge, with half the 95 % interval's width.
    """

    id: str
    model: str
    model_label: str
    layers: int
    optimizer: str
    optimizer_label: str
    of: str | None
    settings: Settings
    text: Text
    runs: tuple[Run, ...]
    state: State
    validation_loss: Estimate
    test_loss: Estimate
    last_validation_loss: Estimate
    last_test_loss: Estimate
    train_loss: Estimate
    """Running mean of the best epoch, as the original study reports it."""
    train_eval_loss: Estimate
    """On the fixed training sample, with the best epoch's weights."""
    validation_bits_per_byte: Estimate
    test_bits_per_byte: Estimate
    validation_word_loss: Estimate
    """Nats a word: exp of it is the perplexity by word."""
    test_word_loss: Estimate
    study_train_loss: Estimate
    """With the original study's denominator, like the next two."""
    study_validation_loss: Estimate
    study_test_loss: Estimate
    train_seconds: Estimate
    """Of the runs on ``hardware``, the undisturbed alone where there are any, like the next three."""
    validation_seconds: Estimate
    epoch_seconds: Estimate
    tokens_per_second: Estimate
    memory: Memory
    parameters: int | None
    trainable_parameters: int | None
    embedding_parameters: int | None
    attention_parameters: int | None
    operations_per_epoch: float | None
    side_by_side: int
    """Runs trained at once, on all machines of a launch together, of its runs on ``hardware``; 1: none beside it."""
    hardware: str
    """Hardware, threads and runs at once of most of its runs, in words."""
    hardware_mark: int
    """0: the commonest hardware of the study; else a number for its kind: times and memory do not compare."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that were trained."""
        return tuple(run.seed for run in self.runs)

    @property
    def learned(self) -> bool:
        """Whether most seeds learned to use context."""
        return self.state.learned

    @property
    def diverged(self) -> int:
        """Number of seeds that diverged."""
        return sum(run.state is State.DIVERGED for run in self.runs)

    @property
    def disturbed(self) -> bool:
        """Whether every run that has a time was disturbed: then its time is marked, and compared with none."""
        timed = [run for run in self.runs if run.train_seconds is not None and not run.elsewhere]
        return bool(timed) and all(run.disturbed for run in timed)

    @property
    def states(self) -> tuple[tuple[State, tuple[int, ...]], ...]:
        """Each state that occurs with its seeds, the state of most seeds first."""
        found = {state: tuple(run.seed for run in self.runs if run.state is state) for state in State}
        occurring = [(state, seeds) for state, seeds in found.items() if seeds]
        return tuple(sorted(occurring, key=lambda entry: (entry[0] is not self.state, -len(entry[1]))))

    @property
    def best_epochs(self) -> tuple[int, int] | None:
        """The earliest and the latest best epoch over seeds."""
        known = [run.course.best_epoch for run in self.runs if run.course.best_epoch is not None]
        return (min(known), max(known)) if known else None

    @property
    def representative(self) -> Run:
        """The run that a sentence about the experiment is about: one in its state, of the middle validation loss."""
        own = [run for run in self.runs if run.state is self.state]
        ordered = sorted(own, key=lambda run: (run.course.best_loss is None, run.course.best_loss or 0.0, run.seed))
        return ordered[(len(ordered) - 1) // 2]


@dataclass(frozen=True, kw_only=True)
class Summaries:
    """All experiments in the report's order, by id."""

    experiments: tuple[ExperimentSummary, ...]

    def __getitem__(self, experiment: str) -> ExperimentSummary:
        for summary in self.experiments:
            if summary.id == experiment:
                return summary
        raise KeyError(experiment)


def lowest(experiments: Iterable[ExperimentSummary]) -> ExperimentSummary | None:
    """The experiment of lowest mean validation loss among those that learned to use context; None if none did."""
    learned = [(e.validation_loss.mean, e) for e in experiments if e.learned and e.validation_loss.mean is not None]
    return min(learned, key=lambda entry: entry[0], default=(0.0, None))[1]


def perplexity(loss: float | None) -> float | None:
    """exp of a loss in nats a token; infinite where the loss is too large for a float, None where there is none."""
    if loss is None or math.isnan(loss):
        return None
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


DISTURBED = 0.1
"""Share of a run's own processor time from which on what other processes took makes its times worthless."""
