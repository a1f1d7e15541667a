"""The controlled report's tables. Captions, notes and headings are in ``reports/templates/controlled_tables.j2``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lm.controlled.claims import Claim
from lm.controlled.contrasts import Contrast
from lm.controlled.findings import ControlledFindings, Search, SeedEffect, Treatment
from lm.controlled.results import ArmResult
from lm.report.table import Column, Table
from lm.results.states import State
from lm.results.statistics import Estimate, estimate
from lm.results.summary import perplexity

Row = dict[str, Any]

_ARM = (
    Column(key="model"),
    Column(key="layers", digits=0),
    Column(key="optimizer"),
)
_TESTED = (
    Column(key="rate"),
    Column(key="edge", words="edges"),
    Column(key="test_perplexity", digits=1),
    Column(key="half", digits=1),
    Column(key="failed"),
)


def build(findings: ControlledFindings, claims: Sequence[Claim]) -> dict[str, Table]:
    """Every table that the results allow, by key."""
    built = [
        rates(findings),
        depth(findings),
        remedies(findings.treatments),
        claimed(claims),
        seeds(findings.seed_effects),
        arms(findings),
        verdicts(findings),
        supports(findings),
    ]
    return {table.key: table for table in built if table is not None}


def test_loss(arm: ArmResult) -> Estimate:
    """Over the confirmations that did not fail."""
    return estimate(arm.losses.values())


def change(difference: float | None) -> float | None:
    """A difference of losses as a change of perplexity, in percent."""
    return None if difference is None else 100 * math.expm1(difference)


def _named(arm: ArmResult) -> Row:
    return {
        "arm": arm.name,
        "model": arm.label,
        "layers": arm.confirmed.layers,
        "optimizer": arm.confirmed.optimizer_label,
    }


def _tested(arm: ArmResult) -> Row:
    loss = test_loss(arm)
    return {
        "rate": f"{arm.rate:g}",
        "edge": "not_searched" if arm.relative else arm.edge,
        "test_perplexity": perplexity(loss.mean),
        "half": change(loss.half),
        "failed": f"{len(arm.failed)} of {len(arm.confirmed.runs)}" if arm.failed else "",
    }


def _changed(arm: ArmResult) -> tuple[tuple[str, str], ...]:
    """Settings with their values; several remedies at once are named in the report's sentences."""
    if arm.together:
        return (("together", ""),)
    return arm.worded


def _some(columns: Sequence[Column], rows: Sequence[Row]) -> tuple[Column, ...]:
    return tuple(column for column in columns if any(row.get(column.key) not in (None, "", ()) for row in rows))


def rates(findings: ControlledFindings) -> Table | None:
    """The optimizers at their own rates."""
    ranked = [arm for ranking in findings.rankings for arm in ranking.arms]
    if not ranked:
        return None
    searches = {search.arm.name: search for search in findings.searches}
    rows = [_named(arm) | _tested(arm) | _searched(searches[arm.name]) for arm in ranked]
    leaders = {ranking.leader.name for ranking in findings.rankings}
    columns = _some(
        (*_ARM, *_TESTED, Column(key="within"), Column(key="tried", digits=0), Column(key="failures", digits=0),
         Column(key="minutes", digits=1)), rows,
    )  # fmt: skip
    return Table(
        key="rates",
        columns=columns,
        rows=tuple(rows),
        bold=frozenset((index, "test_perplexity") for index, arm in enumerate(ranked) if arm.name in leaders),
        facts={"seeds": len(findings.study.seeds), "tuning_seed": findings.study.tuning_seed},
    )


def _searched(search: Search) -> Row:
    within = "" if search.low is None else f"{search.low:g}"
    if search.high is not None and search.high != search.low:
        within += f"–{search.high:g}"
    return {
        "within": within,
        "tried": len(search.arm.trials),
        "failures": search.failures,
        "minutes": search.seconds / 60,
    }


def depth(findings: ControlledFindings) -> Table | None:
    """Architectures at several depths."""
    shown = [arm for series in findings.series for arm in series.arms]
    if not shown:
        return None
    rows = [_named(arm) | _tested(arm) | {"body": arm.body} for arm in shown]
    columns = _some((*_ARM[:2], Column(key="body", digits=0), *_TESTED), rows)
    return Table(key="depth", columns=columns, rows=tuple(rows), facts={"seeds": len(findings.study.seeds)})


def remedies(treatments: Sequence[Treatment]) -> Table | None:
    """Each treatment against what it treats."""
    if not treatments:
        return None
    rows = [
        {
            "treated": each.contrast.second.name,
            "change": _changed(each.contrast.first),
            "rate": f"{each.contrast.first.rate:g}",
            "untreated_rate": f"{each.contrast.second.rate:g}",
            **_difference(each.contrast),
            "time": None if each.slower is None else 100 * (each.slower - 1),
        }
        for each in treatments
    ]
    columns = (
        Column(key="treated"),
        Column(key="change", words="settings"),
        Column(key="rate"),
        Column(key="untreated_rate"),
        *_DIFFERENCE,
        Column(key="time", digits=0),
    )
    return Table(
        key="remedies",
        columns=_some(columns, rows),
        rows=tuple(rows),
        facts={
            "family": len(treatments),
            "timed": any(treatment.slower is not None for treatment in treatments),
            "multiples": any(treatment.contrast.first.relative for treatment in treatments),
        },
    )


_DIFFERENCE = (
    Column(key="difference", digits=1),
    Column(key="low", digits=1),
    Column(key="high", digits=1),
    Column(key="p", digits=3, least=0.001),
    Column(key="outcome", words="outcomes"),
)


def _difference(contrast: Contrast) -> Row:
    paired = contrast.paired
    return {
        "difference": change(paired.difference) if paired else None,
        "low": change(paired.low) if paired else None,
        "high": change(paired.high) if paired else None,
        "p": contrast.p,
        "outcome": contrast.outcome,
    }


def claimed(claims: Sequence[Claim]) -> Table | None:
    """What the default study says, and what becomes of it."""
    if not claims:
        return None
    rows = [
        {
            "topic": claim.topic,
            "first": _short(claim.contrast.first),
            "second": _short(claim.contrast.second),
            "said": claim.order,
            "default_difference": change(claim.default_difference),
            "outcome": claim.contrast.outcome,
            "difference": change(claim.difference),
            "fate": claim.fate,
        }
        for claim in claims
    ]
    columns = (
        Column(key="topic", words="topics"),
        Column(key="first"),
        Column(key="second"),
        Column(key="said", words="orders"),
        Column(key="default_difference", digits=1),
        Column(key="outcome", words="outcomes", title="outcome_here"),
        Column(key="difference", digits=1, title="tuned_difference"),
        Column(key="fate", words="fates"),
    )
    return Table(key="claims", columns=columns, rows=tuple(rows))


def _short(arm: ArmResult) -> str:
    return f"{arm.label} {arm.confirmed.layers} {arm.confirmed.optimizer_label}"


def seeds(effects: Sequence[SeedEffect]) -> Table:
    """How far runs that differ in the seed alone lie apart."""
    rows = [
        {
            "arm": effect.arm.name,
            "kind": effect.kind if len(effect.arm.kinds) == 1 else "several",
            "deviation": effect.deviation,
            "range": None if effect.range_ratio is None else 100 * (effect.range_ratio - 1),
            "failed": f"{effect.failed} of {effect.count}" if effect.failed else "",
        }
        for effect in effects
    ]
    columns = (
        Column(key="arm"),
        Column(key="kind", words="kinds"),
        Column(key="deviation", digits=4),
        Column(key="range", digits=1),
        Column(key="failed"),
    )
    return Table(key="seeds", columns=_some(columns, rows), rows=tuple(rows))


def arms(findings: ControlledFindings) -> Table:
    """What each name stands for, its chosen rate and its confirmed loss."""
    rows = [
        _named(arm) | _tested(arm) | {"of": arm.of, "change": _changed(arm), "improving": _improving(arm)}
        for arm in findings.study.arms
    ]
    columns = (
        Column(key="arm"),
        *_ARM,
        Column(key="of"),
        Column(key="change", words="settings"),
        *_TESTED,
        Column(key="improving"),
    )
    multiples = any(arm.relative for arm in findings.study.arms)
    return Table(key="arms", columns=_some(columns, rows), rows=tuple(rows), facts={"multiples": multiples})


def _improving(arm: ArmResult) -> str:
    count = sum(run.state is State.UNDERTRAINED for run in arm.confirmed.runs)
    return f"{count} of {len(arm.confirmed.runs)}" if count else ""


def verdicts(findings: ControlledFindings) -> Table | None:
    """Every comparison, with what it rests on."""
    rows = [_compared(*each) | _difference(each[1]) | {"family": each[1].family} for each in findings.contrasts]
    columns = (*_COMPARED, *_DIFFERENCE, Column(key="family", digits=0))
    return Table(key="verdicts", columns=columns, rows=tuple(rows)) if rows else None


def supports(findings: ControlledFindings) -> Table | None:
    """What stands beside the verdicts and decides none."""
    rows = [
        _compared(question, contrast)
        | {
            "improvement": contrast.improvement,
            "documents_low": change(contrast.documents.low) if contrast.documents else None,
            "documents_high": change(contrast.documents.high) if contrast.documents else None,
            "second_best": contrast.second_best,
        }
        for question, contrast in findings.contrasts
    ]
    columns = (
        *_COMPARED,
        Column(key="improvement", digits=2),
        Column(key="documents_low", digits=1, title="text_low"),
        Column(key="documents_high", digits=1, title="text_high"),
        Column(key="second_best", words="survivals"),
    )
    documents = next((c.documents.documents for _, c in findings.contrasts if c.documents), None)
    treatments = any(contrast.first.of == contrast.second.name for _, contrast in findings.contrasts)
    facts = {"documents": documents, "treatments": treatments}
    return Table(key="supports", columns=columns, rows=tuple(rows), facts=facts) if rows else None


_COMPARED = (
    Column(key="question", words="questions"),
    Column(key="first"),
    Column(key="second"),
)


def _compared(question: str, contrast: Contrast) -> Row:
    return {"question": question, "first": contrast.first.name, "second": contrast.second.name}
