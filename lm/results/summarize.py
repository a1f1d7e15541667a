"""From the two tables to one summary an experiment: the only place where runs are taken together."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from lm.config.architectures import ARCHITECTURES
from lm.results.names import model_name, optimizer_name, rank
from lm.results.states import State, classify
from lm.results.statistics import Estimate, estimate, finite
from lm.results.summary import (
    DISTURBED,
    Epoch,
    ExperimentSummary,
    Memory,
    Run,
    Settings,
    Summaries,
    Text,
    timed_alike,
)

Row = dict[str, Any]


def summarize(runs: pd.DataFrame, epochs: pd.DataFrame) -> Summaries:
    """Every experiment of ``runs`` and ``epochs`` (``lm.results.schema``), in the report's order.

    Raises :class:`~lm.errors.StudyError` for an architecture or optimizer that no registry has.
    """
    rows = [{key: _plain(value) for key, value in row.items()} for row in runs.to_dict("records")]
    lines = [{key: _plain(value) for key, value in row.items()} for row in epochs.to_dict("records")]
    of_run: dict[tuple[str, int], list[Row]] = {}
    for line in lines:
        of_run.setdefault((str(line["experiment"]), int(line["seed"])), []).append(line)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row["experiment"]), []).append(row)
    marks = _hardware_marks(rows)
    found = [_experiment(group, of_run, marks) for group in groups.values()]
    return Summaries(experiments=tuple(sorted(found, key=lambda e: rank(e.model, e.layers, e.optimizer, e.id))))


def _plain(value: Any) -> Any:
    """pandas' many ways of saying 'nothing' as None."""
    return None if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else value


def _experiment(rows: list[Row], epochs: dict[tuple[str, int], list[Row]], marks: dict[str, int]) -> ExperimentSummary:
    rows = sorted(rows, key=lambda row: row["seed"])
    first, name = rows[0], str(rows[0]["experiment"])
    model_label, optimizer_label = model_name(first["model"]), optimizer_name(first["optimizer"])
    text, settings = _text(first), _settings(first)
    hardware = _most_common(_hardware(row) for row in rows)
    runs = tuple(_run(row, epochs.get((name, int(row["seed"])), []), text, settings.epochs, hardware) for row in rows)
    whole = [run for run in runs if run.state is not State.DIVERGED]
    kept = {run.seed for run in whole}
    sound = [row for row in rows if row["seed"] in kept]
    timed = timed_alike(runs)

    def of_rows(read: Callable[[Row], float | None]) -> Estimate:
        return estimate(read(row) for row in sound)

    return ExperimentSummary(
        id=name,
        model=first["model"],
        model_label=model_label,
        layers=int(first["layers"]),
        optimizer=first["optimizer"],
        optimizer_label=optimizer_label,
        of=first["of"],
        settings=settings,
        text=text,
        runs=runs,
        state=_majority(runs),
        validation_loss=estimate(run.validation_loss for run in runs),
        test_loss=estimate(run.test_loss for run in runs),
        last_validation_loss=estimate(run.last_validation_loss for run in whole),
        last_test_loss=estimate(run.last_test_loss for run in whole),
        train_loss=estimate(run.train_loss for run in whole),
        train_eval_loss=estimate(run.train_eval_loss for run in whole),
        validation_bits_per_byte=of_rows(lambda row: row["validation_bits_per_byte"]),
        test_bits_per_byte=of_rows(lambda row: row["test_bits_per_byte"]),
        validation_word_loss=of_rows(lambda row: _log(row["validation_word_perplexity"])),
        test_word_loss=of_rows(lambda row: _log(row["test_word_perplexity"])),
        study_train_loss=of_rows(lambda row: _log(row["study_train_perplexity"])),
        study_validation_loss=of_rows(lambda row: _log(row["study_validation_perplexity"])),
        study_test_loss=of_rows(lambda row: _log(row["study_test_perplexity"])),
        train_seconds=estimate(run.train_seconds for run in timed),
        validation_seconds=estimate(run.validation_seconds for run in timed),
        epoch_seconds=estimate(_mean(epoch.train_seconds for epoch in run.epochs) for run in timed),
        tokens_per_second=estimate(run.tokens_per_second for run in timed),
        memory=_memory([row for row in sound if _hardware(row) == hardware]),
        parameters=_whole(first["parameters"]),
        trainable_parameters=_whole(first["trainable_parameters"]),
        embedding_parameters=_whole(first["embedding_parameters"]),
        attention_parameters=_whole(first["attention_parameters"]),
        operations_per_epoch=finite(first["operations_per_epoch"]),
        side_by_side=next(_side_by_side(row) for row in rows if _hardware(row) == hardware),
        hardware=hardware,
        hardware_mark=marks[hardware],
    )


def _majority(runs: tuple[Run, ...]) -> State:
    """The state of most seeds; of equals, the worse."""
    counts = Counter(run.state for run in runs)
    worst_first = list(State)
    return min(counts, key=lambda state: (-counts[state], worst_first.index(state)))


def _run(row: Row, lines: list[Row], text: Text, epochs: int, hardware: str) -> Run:
    history = tuple(_epoch(line) for line in sorted(lines, key=lambda line: line["epoch"]))
    course = classify(
        [epoch.validation_loss for epoch in history],
        [epoch.train_eval_loss for epoch in history],
        [epoch.train_loss for epoch in history],
        unigram=text.unigram_loss,
        uniform=text.uniform_loss,
        epochs=epochs,
        diverged=row["status"] == "diverged",
        diverged_step=_whole(row["diverged_step"]),
    )
    sound = course.state is not State.DIVERGED
    return Run(
        seed=int(row["seed"]),
        course=course,
        epochs=history,
        validation_loss=_loss(row["validation_loss"]) if sound else None,
        test_loss=_loss(row["test_loss"]) if sound else None,
        last_validation_loss=history[-1].validation_loss if sound else None,
        last_test_loss=_log(row["last_test_perplexity"]) if sound else None,
        train_loss=_log(row["train_perplexity"]),
        train_eval_loss=_log(row["train_eval_perplexity"]),
        train_seconds=finite(row["train_seconds"]),
        validation_seconds=finite(row["validation_seconds"]),
        tokens_per_second=finite(row["tokens_per_second"]),
        stopped_early=bool(row["stopped_early"]),
        disturbed=_disturbed(row),
        elsewhere=_hardware(row) != hardware,
        setting=_setting(row),
        resumed=_whole(row["resumed"]) or 0,
        revision=row["revision"],
        precision=row["precision"],
    )


def _disturbed(row: Row) -> bool:
    """Whether other processes took more than ``DISTURBED`` of what the run itself took of the processor.

    Runs that were started beside it on purpose take as much as it does, each; they are a setting, not a disturbance.
    """
    own, others = finite(row["process_cpu_seconds"]), finite(row["other_cpu_seconds"])
    if own is None or others is None:
        return False
    return others > (_side_by_side(row) - 1 + DISTURBED) * own


def _epoch(line: Row) -> Epoch:
    return Epoch(
        epoch=int(line["epoch"]),
        train_loss=_loss(line["train_loss"]),
        train_eval_loss=_loss(line["train_eval_loss"]),
        validation_loss=_loss(line["validation_loss"]),
        train_seconds=finite(line["train_seconds"]),
        validation_seconds=finite(line["validation_seconds"]),
        tokens_per_second=finite(line["tokens_per_second"]),
        process_cpu_seconds=finite(line["process_cpu_seconds"]),
        other_cpu_seconds=finite(line["other_cpu_seconds"]),
    )


def _settings(row: Row) -> Settings:
    sizes = json.loads(row["sizes"]) if row["sizes"] else {}
    names = [size for size in ARCHITECTURES[row["model"]].sizes if size in sizes]
    return Settings(
        lr=float(row["lr"]),
        weight_decay=finite(row["weight_decay"]),
        momentum=finite(row["momentum"]),
        beta2=finite(row["beta2"]),
        epochs=int(row["epochs"]),
        batch=int(row["batch"]),
        context=int(row["context"]),
        width=_whole(row["width"]),
        sizes=tuple((size, int(sizes[size])) for size in names),
        norm=row["norm"],
        dropout=finite(row["dropout"]) or 0.0,
        warmup=finite(row["warmup"]) or 0.0,
        schedule=row["schedule"] or "constant",
        clip=finite(row["clip"]),
        label_smoothing=finite(row["label_smoothing"]) or 0.0,
        patience=_whole(row["patience"]),
        shards=_whole(row["shards"]) or 1,
    )


def _text(row: Row) -> Text:
    return Text(
        corpus=row["corpus"],
        scale=row["scale"],
        vocabulary=int(row["vocabulary"]),
        fingerprint=row["text"],
        train_tokens=_whole(row["train_tokens"]),
        validation_tokens=_whole(row["validation_tokens"]),
        validation_bytes=_whole(row["validation_bytes"]),
        test_tokens=_whole(row["test_tokens"]),
        uniform_loss=math.log(row["vocabulary"]),
        unigram_loss=math.log(row["unigram_validation_perplexity"]),
        unigram_test_loss=_log(row["unigram_test_perplexity"]),
    )


def _memory(rows: list[Row]) -> Memory:
    def mean(column: str) -> float | None:
        return estimate(row[column] for row in rows).mean

    return Memory(
        peak=mean("memory_peak_mb"),
        mean=mean("memory_mean_mb"),
        baseline=mean("memory_baseline_mb"),
        footprint=mean("memory_footprint_mb"),
        scoring=mean("memory_scoring_mb"),
        checkpoint=mean("memory_checkpoint_mb"),
        gpu_reserved=mean("gpu_reserved_mb"),
        nvml=mean("nvml_mean_mb"),
        measure=next((row["memory_measure"] for row in rows if row["memory_measure"]), None),
        parameters=mean("model_parameters_mb"),
        gradients=mean("model_gradients_mb"),
        optimizer=mean("model_optimizer_mb"),
        activations=mean("model_activations_mb"),
        logits=mean("model_logits_mb"),
    )


def _hardware_marks(rows: list[Row]) -> dict[str, int]:
    """Each kind of hardware to a mark: 0 for the commonest among experiments, 1, 2, … for the others."""
    by_experiment: dict[str, list[str]] = {}
    for row in rows:
        by_experiment.setdefault(str(row["experiment"]), []).append(_hardware(row))
    kinds = [_most_common(own) for own in by_experiment.values()]
    common = _most_common(kinds)
    return {kind: mark for mark, kind in enumerate([common, *sorted(set(kinds) - {common})])}


def _most_common(values: Iterable[str]) -> str:
    """The commonest; of equals, the first in alphabetical order."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def _side_by_side(row: Row) -> int:
    return _whole(row["side_by_side"]) or 1


def _hardware(row: Row) -> str:
    """What must be the same for times to compare: hardware, threads, and how many runs shared them."""
    parts = [str(row["hardware"])]
    if row["threads"] is not None:
        parts.append(f"{int(row['threads'])} thread{'s' if row['threads'] > 1 else ''}")
    if _side_by_side(row) > 1:
        parts.append(f"{_side_by_side(row)} runs at once")
    return ", ".join(parts)


def _setting(row: Row) -> str:
    versions = [f"{name} {row[key]}" for key, name in (("torch", "PyTorch"), ("python", "Python")) if row[key]]
    return " · ".join([_hardware(row), str(row["device"]), *versions])


def _loss(value: Any) -> float | None:
    """A finite loss; None else, an absurdly large one too, whose sums and differences would not be finite."""
    loss = finite(value)
    return None if loss is None or abs(loss) > _ABSURD else loss


_ABSURD = 1e12


def _log(value: float | None) -> float | None:
    return math.log(value) if value is not None and 0 < value < math.inf else None


def _whole(value: float | None) -> int | None:
    return None if value is None or not math.isfinite(value) else int(value)


def _mean(values: Iterable[float | None]) -> float | None:
    return estimate(values).mean
