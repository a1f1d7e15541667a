"""The report's tables, from summaries and findings. Captions, notes and headings are in ``reports/templates``.

Perplexities are exponentials of mean losses; where several seeds give an interval, half of it stands beside them in
percent. What is not known is a dash.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lm.findings.architectures import Architectures, Match
from lm.findings.cost import WallClock
from lm.findings.depth import Depth
from lm.findings.memory import Memory
from lm.findings.optimizers import Optimizers
from lm.findings.quality import Quality
from lm.findings.remedies import Treated
from lm.findings.replication import Replication
from lm.findings.stopping import Stopping
from lm.findings.study import Findings
from lm.findings.verdicts import Learned, Verdict
from lm.report.table import Column, Table
from lm.report.text import MISSING, known, number
from lm.results.reference import corrected
from lm.results.statistics import Estimate
from lm.results.summary import ExperimentSummary, Run, Summaries, perplexity

NAME = (
    Column(key="experiment"),
    Column(key="model"),
    Column(key="layers", digits=0),
    Column(key="optimizer"),
)
Row = dict[str, Any]


def build(findings: Findings, locked: Mapping[str, Mapping[str, str]]) -> dict[str, Table]:
    """Every table that the results allow, by key. ``locked``: hashes by run, as dvc.lock has them."""
    summaries = findings.summaries
    built = [
        performance(summaries),
        time(findings),
        memory(findings),
        states(summaries),
        reach(findings.wall_clock),
        measures(summaries),
        last_epoch(findings.quality),
        optimizers(findings.optimizers),
        architectures(findings.architectures),
        depth(findings.depth),
        parameters(summaries),
        memory_accounts(findings.memory),
        early_stopping(findings.stopping),
        remedies(findings.treated),
        reference(findings.replication),
        reference_cost(findings.replication),
        study_denominator(summaries),
        provenance(summaries, locked),
    ]
    return {table.key: table for table in built if table is not None}


def named(summary: ExperimentSummary) -> Row:
    """The columns of ``NAME``."""
    return {
        "experiment": summary.id,
        "model": summary.model_label,
        "layers": summary.layers,
        "optimizer": summary.optimizer_label,
    }


def _loss(key: str, estimate: Estimate) -> Row:
    """A loss as perplexity, and half its interval in percent of it."""
    return {key: perplexity(estimate.mean), f"{key}_half": _percent(estimate.half)}


def _figure(key: str, estimate: Estimate) -> Row:
    return {key: estimate.mean, f"{key}_half": estimate.half}


def _percent(relative: float | None) -> float | None:
    """A logarithm as a change in percent."""
    if relative is None or not known(relative) or relative > 100:
        return None
    return 100 * math.expm1(relative)


def _ratio(ratio: float | None) -> float | None:
    return None if ratio is None else 100 * ratio


def _with_halves(columns: Iterable[Column], rows: Sequence[Row]) -> tuple[Column, ...]:
    """A column for half the interval behind every column that has one in any row."""
    wide = []
    for column in columns:
        wide.append(column)
        if any(known(row.get(f"{column.key}_half")) for row in rows):
            title = "half_percent" if "perplexity" in column.key else "half"
            wide.append(Column(key=f"{column.key}_half", digits=column.digits, title=title))
    return tuple(wide)


def _some(columns: Iterable[Column], rows: Sequence[Row]) -> tuple[Column, ...]:
    """The columns that any row has something for."""
    return tuple(column for column in columns if any(row.get(column.key) not in (None, "", ()) for row in rows))


def _by(
    summaries: Iterable[ExperimentSummary], value: Callable[[ExperimentSummary], float | None]
) -> list[ExperimentSummary]:
    """Ascending; what has no figure comes last, in the report's order."""

    def key(summary: ExperimentSummary) -> tuple[bool, float]:
        figure = value(summary)
        return (True, 0.0) if figure is None or not known(figure) else (False, figure)

    return sorted(summaries, key=key)


def lowest_of_each(summaries: Sequence[ExperimentSummary], key: str, loss: str) -> frozenset[tuple[int, str]]:
    """Of each architecture the row of lowest loss among those that learned to use context."""
    best: dict[str, tuple[float, int]] = {}
    for index, summary in enumerate(summaries):
        mean = getattr(summary, loss).mean
        if summary.learned and known(mean):
            best[summary.model] = min(best.get(summary.model, (math.inf, 0)), (mean, index))
    return frozenset((index, key) for _, index in best.values())


def _epochs(summary: ExperimentSummary) -> str:
    if summary.best_epochs is None:
        return ""
    first, last = summary.best_epochs
    return str(first) if first == last else f"{first}–{last}"


def performance(summaries: Summaries) -> Table:
    shown = summaries.experiments
    rows = [
        {
            **named(summary),
            **_loss("validation_perplexity", summary.validation_loss),
            **_loss("train_perplexity", summary.train_loss),
            "best_epochs": _epochs(summary),
            "state": summary.state,
        }
        for summary in shown
    ]
    columns = (
        *NAME,
        Column(key="validation_perplexity", digits=1),
        Column(key="train_perplexity", digits=1),
        Column(key="best_epochs"),
        Column(key="state", words="states"),
    )
    bold = lowest_of_each(shown, "validation_perplexity", "validation_loss")
    return Table(
        key="performance",
        columns=_with_halves(columns, rows),
        rows=tuple(rows),
        bold=bold,
        facts={
            "bold": bool(bold),
            "halves": any(known(row["validation_perplexity_half"]) for row in rows),
            "diverged": [s for s in shown if s.diverged],
            "mixed": [s for s in shown if len(s.states) > 1],
        },
    )


def _remarks(summary: ExperimentSummary) -> tuple[tuple[str, str], ...]:
    """Why a row's times and memory do not compare with the others'."""
    found = []
    if summary.hardware_mark:
        found.append(("hardware", str(summary.hardware_mark)))
    if summary.disturbed:
        found.append(("disturbed", ""))
    if summary.side_by_side > 1:
        found.append(("at_once", str(summary.side_by_side)))
    return tuple(found)


def time(findings: Findings) -> Table:
    shown = _by(findings.summaries.experiments, lambda summary: summary.train_seconds.mean)
    rows = [
        {
            **named(summary),
            **_figure("train_seconds", summary.train_seconds),
            "validation_seconds": summary.validation_seconds.mean,
            "epoch_seconds": summary.epoch_seconds.mean,
            "tokens_per_second": summary.tokens_per_second.mean,
            "remarks": _remarks(summary),
        }
        for summary in shown
    ]
    columns = (
        *NAME,
        Column(key="train_seconds", digits=1),
        Column(key="epoch_seconds", digits=2),
        Column(key="validation_seconds", digits=1),
        *_some((Column(key="tokens_per_second", digits=0),), rows),
    )
    remarks = _some((Column(key="remarks", words="remarks"),), rows)
    return Table(
        key="time",
        columns=(*_with_halves(columns, rows), *remarks),
        rows=tuple(rows),
        facts={
            "halves": any(known(row["train_seconds_half"]) for row in rows),
            "disturbed": [s for s in shown if s.disturbed],
            "partly": [s for s in shown if not s.disturbed and any(run.disturbed for run in s.runs)],
            "elsewhere": [s for s in shown if any(run.elsewhere for run in s.runs)],
            "unlike": [s for s in shown if s.hardware_mark],
            "at_once": max(s.side_by_side for s in shown),
            "again": next(
                (f"{s.id}-{run.seed}" for s in shown for run in s.runs if run.disturbed),
                "",
            ),
        },
    )


def memory(findings: Findings) -> Table:
    whole = findings.memory.whole
    shown = _by(
        findings.summaries.experiments,
        lambda summary: summary.memory.mean if whole else summary.memory.footprint,
    )
    rows = [
        {
            **named(summary),
            "footprint": summary.memory.footprint,
            "scoring": summary.memory.scoring,
            "mean": summary.memory.mean,
            "peak": summary.memory.peak,
            "nvml": summary.memory.nvml,
            "remarks": (("hardware", str(summary.hardware_mark)),) if summary.hardware_mark else (),
        }
        for summary in shown
    ]
    columns = (
        Column(key="footprint", digits=1),
        Column(key="scoring", digits=1),
        Column(key="mean", digits=1),
        Column(key="peak", digits=1),
        Column(key="nvml", digits=1),
        Column(key="remarks", words="remarks"),
    )
    return Table(
        key="memory",
        columns=(*NAME, *_some(columns, rows)),
        rows=tuple(rows),
        facts={
            "measures": sorted({s.memory.measure for s in shown if s.memory.measure}),
            "elsewhere": [s for s in shown if any(run.elsewhere for run in s.runs)],
            "unlike": [s for s in shown if s.hardware_mark],
            "scoring": any(known(row["scoring"]) for row in rows),
            "whole": whole,
        },
    )


def states(summaries: Summaries) -> Table:
    """One row a run: how it ended, with the figures that decided it."""
    rows = [
        {
            **named(summary),
            "seed": str(run.seed),
            "state": run.state,
            "left": run.course.left_plateau,
            "best_epoch": run.course.best_epoch,
            "slope": run.course.slope,
            "rise": run.course.rise,
            "gap": run.course.gap,
        }
        for summary in summaries.experiments
        for run in summary.runs
    ]
    several = any(len(summary.runs) > 1 for summary in summaries.experiments)
    return Table(
        key="states",
        columns=(
            *NAME,
            *((Column(key="seed"),) if several else ()),
            Column(key="state", words="states"),
            Column(key="left", digits=0),
            Column(key="best_epoch", digits=0),
            Column(key="slope", digits=3),
            Column(key="rise", digits=3),
            *_some((Column(key="gap", digits=3),), rows),
        ),
        rows=tuple(rows),
        facts={
            "several": several,
            "never": any(row["left"] is None for row in rows),
            "gap": any(row["gap"] is not None for row in rows),
        },
    )


def reach(found: WallClock) -> Table | None:
    """Training seconds to given validation perplexities, of the experiments that reached any."""
    arrived: dict[str, Row] = {}
    for index, target in enumerate(found.reaches):
        for arrival in target.arrivals:
            row = arrived.setdefault(arrival.experiment.id, named(arrival.experiment))
            row[f"to_{index}"] = arrival.seconds
    targets = [(i, target) for i, target in enumerate(found.reaches) if target.arrivals]
    if not targets:
        return None
    columns = (
        Column(key=f"to_{i}", digits=1, title="reach", value=number(perplexity(target.target), 0))
        for i, target in targets
    )
    return Table(key="reach", columns=(*NAME, *columns), rows=tuple(arrived.values()))


def measures(summaries: Summaries) -> Table | None:
    """Test perplexity, and measures that compare across tokenizers; a corpus without text has none of these. None where
    no run was scored."""
    rows = [
        {
            **named(summary),
            **_loss("test_perplexity", summary.test_loss),
            "validation_bits": summary.validation_bits_per_byte.mean,
            "test_bits": summary.test_bits_per_byte.mean,
            "validation_words": perplexity(summary.validation_word_loss.mean),
            "test_words": perplexity(summary.test_word_loss.mean),
        }
        for summary in summaries.experiments
    ]
    comparable = _some(
        (
            Column(key="validation_bits", digits=3),
            Column(key="test_bits", digits=3),
            Column(key="validation_words", digits=0),
            Column(key="test_words", digits=0),
        ),
        rows,
    )
    if not _some((Column(key="test_perplexity"), *comparable), rows):
        return None
    columns = (*NAME, Column(key="test_perplexity", digits=1), *comparable)
    return Table(
        key="measures",
        columns=_with_halves(columns, rows),
        rows=tuple(rows),
        bold=lowest_of_each(summaries.experiments, "test_perplexity", "test_loss"),
        facts={
            "bits": any(c.key == "test_bits" for c in comparable),
            "words": any(c.key == "test_words" for c in comparable),
        },
    )


def last_epoch(found: Quality) -> Table | None:
    """The runs to which keeping the last epoch's weights would have cost something worth a row."""
    if not found.costly:
        return None
    several = len({cost.experiment.id for cost in found.costly}) < len(found.costly)
    rows = tuple(
        {
            **named(cost.experiment),
            "seed": str(cost.seed),
            "best": perplexity(cost.best_loss),
            "last": perplexity(cost.last_loss),
            "cost": 100 * cost.cost,
        }
        for cost in found.costly
    )
    return Table(
        key="last_epoch",
        columns=(
            *NAME,
            *((Column(key="seed"),) if several else ()),
            Column(key="best", digits=1),
            Column(key="last", digits=1),
            Column(key="cost", digits=1),
        ),
        rows=rows,
        facts={"least": found.costly_from},
    )


def _judged(verdict: Verdict | None) -> Row:
    """A verdict's difference in percent, its interval, and its word."""
    if verdict is None:
        return {}
    return {
        "difference": _ratio(verdict.ratio),
        "low": _ratio(verdict.low_ratio),
        "high": _ratio(verdict.high_ratio),
        "verdict": verdict.order if verdict.reason is None else verdict.reason,
    }


_JUDGED = (
    Column(key="difference", digits=1),
    Column(key="low", digits=1),
    Column(key="high", digits=1),
)


def optimizers(found: Optimizers | None) -> Table | None:
    """Each architecture's optimizers, best first. No mean over architectures: perplexities of two models have none."""
    if found is None:
        return None
    rows = [
        {
            **named(rank.experiment),
            "lr": f"{rank.experiment.settings.lr:g}",
            "perplexity": perplexity(rank.experiment.validation_loss.mean),
            **_judged(rank.behind),
            "verdict": "best" if rank.best else "unranked" if rank.behind is None else _judged(rank.behind)["verdict"],
            "state": rank.experiment.state,
        }
        for rank in found.ranks
    ]
    return Table(
        key="optimizers",
        columns=(
            Column(key="experiment"),
            Column(key="model"),
            Column(key="optimizer"),
            Column(key="lr"),
            Column(key="perplexity", digits=1),
            *_some((*_JUDGED, Column(key="verdict", words="verdicts")), rows),
        ),
        rows=tuple(rows),
        facts={"layers": found.layers},
    )


def architectures(found: Architectures | None) -> Table | None:
    """Every matched pair: perplexities, their difference, and what early stopping makes of it."""
    if found is None:
        return None
    rows = []
    for tally in found.tallies:
        for match in tally.matches:
            first, second = match.comparison.first, match.comparison.second
            rows.append(
                {
                    "pair": f"{first.id} : {second.id}",
                    "layers": match.layers,
                    "optimizer": match.optimizer_label,
                    "models": f"{tally.first_label} : {tally.second_label}",
                    "first_perplexity": perplexity(match.comparison.first_loss),
                    "second_perplexity": perplexity(match.comparison.second_loss),
                    **_judged(match.comparison.verdict),
                    "winner": _winner(match),
                    "first_seconds": match.first_stopped.seconds if match.first_stopped else None,
                    "second_seconds": match.second_stopped.seconds if match.second_stopped else None,
                }
            )
    several = len(found.tallies) > 1
    only = found.tallies[0]
    columns = (
        Column(key="pair"),
        *((Column(key="models"),) if several else ()),
        Column(key="layers", digits=0),
        Column(key="optimizer"),
        Column(key="first_perplexity", digits=1, title="first" if several else "of_model", value=only.first_label),
        Column(key="second_perplexity", digits=1, title="second" if several else "of_model", value=only.second_label),
        *_some(_JUDGED, rows),
        Column(key="winner", words="winners"),
        *_some(
            (
                Column(
                    key="first_seconds", digits=0, title="first_s" if several else "seconds_of", value=only.first_label
                ),
                Column(
                    key="second_seconds",
                    digits=0,
                    title="second_s" if several else "seconds_of",
                    value=only.second_label,
                ),
            ),
            rows,
        ),
    )
    return Table(
        key="architectures",
        columns=columns,
        rows=tuple(rows),
        facts={"patience": found.patience, "stopped": any(row["first_seconds"] is not None for row in rows)},
    )


def _winner(match: Match) -> tuple[tuple[str, str], ...]:
    if match.comparison.learned is Learned.NEITHER:
        return (("neither", ""),)
    if match.winner is not None:
        return (("model", match.winner.model_label),)
    return ((match.comparison.verdict.order, ""),)


def depth(found: Depth | None) -> Table | None:
    """Each series of depths, with what each step does against its shallowest."""
    if found is None:
        return None
    rows = []
    for series in found.series:
        base = series.experiments[0]
        rows.append({**named(base), "perplexity": perplexity(base.validation_loss.mean), "effect": "base"})
        training = {step.comparison.second.id: step.second_training for step in series.steps}
        rows[-1]["training"] = perplexity(training.get(base.id))
        for step in series.steps:
            rows.append(
                {
                    **named(step.comparison.first),
                    "perplexity": perplexity(step.comparison.first_loss),
                    "training": perplexity(step.first_training),
                    **_judged(step.comparison.verdict),
                    "effect": step.effect,
                }
            )
    return Table(
        key="depth",
        columns=(
            *NAME,
            Column(key="perplexity", digits=1),
            *_some((Column(key="training", digits=1), *_JUDGED), rows),
            Column(key="effect", words="deeper"),
        ),
        rows=tuple(rows),
        facts={"running": any(step.running for series in found.series for step in series.steps)},
    )


def parameters(summaries: Summaries) -> Table:
    """Embedding, attention and the rest, one row an architecture, depth and set of sizes."""
    rows: list[Row] = []
    for summary in summaries.experiments:
        embedding, attention = summary.embedding_parameters or 0, summary.attention_parameters or 0
        body = None if summary.parameters is None else summary.parameters - embedding
        row = {
            "model": summary.model_label,
            "layers": summary.layers,
            "embedding": summary.embedding_parameters,
            "attention": summary.attention_parameters,
            "rest": None if body is None else body - attention,
            "all": summary.parameters,
            "trained": summary.trainable_parameters,
        }
        if row not in rows:
            rows.append(row)
    return Table(
        key="parameters",
        columns=(
            *NAME[1:3],
            Column(key="embedding", digits=0),
            Column(key="attention", digits=0),
            Column(key="rest", digits=0),
            Column(key="all", digits=0),
            Column(key="trained", digits=0),
        ),
        rows=tuple(rows),
        facts={"attention": any(row["attention"] for row in rows)},
    )


def memory_accounts(found: Memory) -> Table | None:
    """The memory model's parts against the measured peak of a training step above the baseline."""
    rows: list[Row] = [
        {
            **named(account.experiment),
            **{f"part_{part}": mib for part, mib in account.parts},
            "modelled": account.modelled,
            "measured": account.measured,
            "share": 100 * account.modelled / account.measured if account.measured else None,
        }
        for account in found.accounts
        if account.parts
    ]
    if not rows:
        return None
    parts = dict.fromkeys(part for account in found.accounts for part, _ in account.parts)
    return Table(
        key="memory_accounts",
        columns=(
            *NAME,
            *(Column(key=f"part_{part}", digits=1) for part in parts),
            Column(key="modelled", digits=1),
            *_some((Column(key="measured", digits=1), Column(key="share", digits=0)), rows),
        ),
        rows=tuple(rows),
        facts={"whole": found.whole},
    )


def early_stopping(found: Stopping) -> Table | None:
    """For each patience the last epoch trained, time saved and perplexity lost; means over seeds."""
    rows: dict[str, Row] = {}
    for stop in found.stops:
        rows.setdefault(stop.experiment.id, named(stop.experiment))
    used = [p for p in found.patiences if any(stop.epoch is not None for stop in found.under(p))]
    for experiment, row in rows.items():
        for patience in used:
            stops = found.of(experiment, patience)
            epochs = sorted({stop.epoch for stop in stops if stop.epoch is not None})
            if epochs:
                row[f"epoch_{patience}"] = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]}–{epochs[-1]}"
                row[f"saved_{patience}"] = math.fsum(stop.saved for stop in stops) / len(stops)
                row[f"lost_{patience}"] = _percent(math.fsum(stop.lost for stop in stops) / len(stops))
    stopped = [row for row in rows.values() if len(row) > len(NAME)]
    if not stopped:
        return None
    columns = (
        column
        for patience in used
        for column in (
            Column(key=f"epoch_{patience}", title="stop", value=str(patience)),
            Column(key=f"saved_{patience}", digits=0, title="saved"),
            Column(key=f"lost_{patience}", digits=1, title="lost"),
        )
    )
    return Table(
        key="early_stopping",
        columns=(*NAME, *columns),
        rows=tuple(stopped),
        facts={"patiences": [str(patience) for patience in used]},
    )


def remedies(treated: Sequence[Treated]) -> Table | None:
    """Each experiment made from another one, beside it."""
    rows = [
        {
            "experiment": each.comparison.first.id,
            "of": each.comparison.second.id,
            "change": _changed(each),
            "perplexity": perplexity(each.comparison.first_loss),
            "untreated": perplexity(each.comparison.second_loss),
            **_judged(each.comparison.verdict),
            "time": _ratio(each.time.ratio),
            "result": each.result,
        }
        for each in treated
    ]
    if not rows:
        return None
    return Table(
        key="remedies",
        columns=(
            Column(key="experiment"),
            Column(key="of"),
            Column(key="change"),
            Column(key="untreated", digits=1),
            Column(key="perplexity", digits=1, title="treated"),
            *_some(_JUDGED, rows),
            *_some((Column(key="time", digits=0, title="time_change"),), rows),
            Column(key="result", words="results"),
        ),
        rows=tuple(rows),
        facts={"several": any(each.comparison.verdict.seeds > 1 for each in treated)},
    )


def _changed(treated: Treated) -> str:
    """What was set, with the new values; what is only gone with another architecture or optimizer is left out."""
    changed = [change for change in treated.changes if change.after is not None] or treated.changes
    values = ((change.key, MISSING if change.after is None else change.after) for change in changed)
    return ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in values)


def reference(found: Replication | None) -> Table | None:
    """The original study's validation perplexity beside ours, with its denominator and over predicted tokens."""
    if found is None or not found.beside:
        return None
    rows = []
    for each in found.beside:
        rows.append(
            {
                **named(each.experiment),
                "published": perplexity(each.published_loss),
                "low": perplexity(each.low) if each.replications else None,
                "high": perplexity(each.high) if each.replications else None,
                "ours_its_way": perplexity(each.experiment.study_validation_loss.mean),
                "place": each.place,
                "corrected": perplexity(corrected(each.published_loss)),
                "ours": perplexity(each.experiment.validation_loss.mean),
            }
        )
    return Table(
        key="reference",
        columns=(
            *NAME,
            Column(key="published", digits=1),
            *_some(
                (
                    Column(key="low", digits=1, title="spread_from"),
                    Column(key="high", digits=1, title="spread_to"),
                    Column(key="ours_its_way", digits=1),
                    Column(key="place", words="places"),
                ),
                rows,
            ),
            Column(key="corrected", digits=1),
            Column(key="ours", digits=1),
        ),
        rows=tuple(rows),
    )


def reference_cost(found: Replication | None) -> Table | None:
    """What the original study's runs cost, beside ours."""
    if found is None or not found.beside:
        return None
    rows = [
        {
            **named(each.experiment),
            "published_epoch": each.published_best_epoch,
            "our_epoch": _epochs(each.experiment),
            "published_seconds": each.published_seconds,
            "our_seconds": each.experiment.train_seconds.mean,
            "published_memory": each.published_memory,
            "our_memory": each.experiment.memory.nvml,
        }
        for each in found.beside
    ]
    return Table(
        key="reference_cost",
        columns=(
            *NAME,
            Column(key="published_epoch", digits=0),
            Column(key="our_epoch"),
            Column(key="published_seconds", digits=0),
            Column(key="our_seconds", digits=0),
            Column(key="published_memory", digits=0),
            *_some((Column(key="our_memory", digits=0),), rows),
        ),
        rows=tuple(rows),
    )


def study_denominator(summaries: Summaries) -> Table:
    """The same losses, divided as the original study divided them."""
    rows = tuple(
        {
            **named(summary),
            "train": perplexity(summary.study_train_loss.mean),
            "validation": perplexity(summary.study_validation_loss.mean),
            "test": perplexity(summary.study_test_loss.mean),
        }
        for summary in summaries.experiments
    )
    columns = (Column(key=split, digits=2) for split in ("train", "validation", "test"))
    return Table(key="study_denominator", columns=(*NAME, *columns), rows=rows)


def settings(summaries: Summaries) -> dict[str, str]:
    """The distinct hardware and software that runs were made with, by a letter or a number, in a stable order."""
    distinct = sorted({run.setting for summary in summaries.experiments for run in summary.runs})
    letters = len(distinct) <= 26
    return {setting: chr(ord("A") + i) if letters else str(i + 1) for i, setting in enumerate(distinct)}


def provenance(summaries: Summaries, locked: Mapping[str, Mapping[str, str]]) -> Table:
    """What made each run: code, data and weights by hash, software and hardware."""
    marks = settings(summaries)
    rows = [_made(summary, run, marks, locked) for summary in summaries.experiments for run in summary.runs]
    hashes = tuple(Column(key=key) for key in ("configuration", "tokens", "weights"))
    return Table(
        key="provenance",
        columns=(
            Column(key="run"),
            Column(key="revision"),
            *_some(hashes, rows),
            Column(key="precision"),
            Column(key="setting"),
            Column(key="resumed", digits=0),
        ),
        rows=tuple(rows),
        facts={"hashes": bool(_some(hashes, rows))},
    )


def _made(
    summary: ExperimentSummary, run: Run, marks: Mapping[str, str], locked: Mapping[str, Mapping[str, str]]
) -> Row:
    name = f"{summary.id}-{run.seed}"
    hashes = locked.get(name, {})
    return {
        "run": name,
        "revision": _short(run.revision),
        **{key: _short(hashes.get(key)) for key in ("configuration", "tokens", "weights")},
        "precision": run.precision,
        "resumed": run.resumed,
        "setting": marks[run.setting],
    }


def _short(digest: str | None) -> str | None:
    """Eight digits, and the mark of local changes."""
    return digest[:8] + ("+" if digest.endswith("+") else "") if digest else None
