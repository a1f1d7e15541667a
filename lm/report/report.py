"""From a study's results to its report: which tables, figures and findings go into it, and in what order."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from lm.results import tables
from lm.results.experiments import by_experiment
from lm.results.figures import curve_key, draw_all
from lm.results.findings import Findings, find
from lm.results.findings.cost import describe_reach
from lm.results.findings.quality import last_epoch_claim
from lm.results.findings.replication import replication
from lm.results.load import Study
from lm.results.names import capital, configuration, counted, listed, model_name, natural, optimizer_name
from lm.results.render import render
from lm.results.statistics import ONE_SEED_BOUND
from lm.results.table import Table
from lm.results.text import percent, whole


def write_report(study: Study, templates: Path, folder: Path) -> None:
    """Write report.md, report.tex and figures/ under ``folder``."""
    findings = find(study.runs, study.epochs, study.params)
    figures = draw_all(study.runs, study.epochs, findings, folder / "figures")
    text = (templates / "report.j2").read_text(encoding="utf-8")
    parts = _in_order_of_appearance(build_tables(study, findings), text, "table")
    shown = _in_order_of_appearance(figures, text, "figure")
    context = {
        "study": study,
        "findings": findings,
        "title": title(study.runs),
        "subject": subject(study.runs),
        "certainty": certainty(study.runs),
        "limits": limits(study.runs),
        "replication": replication(study.runs, study.reference),
        "last_epoch_claim": last_epoch_claim(findings.generalization),
        "reaches": [describe_reach(reach) for reach in findings.wall_clock.reaches],
        "settings": [f"{chr(ord('A') + i)}: {text}" for i, text in enumerate(tables.settings(study.runs))],
        "experiments": [_experiment(row, findings) for row in by_experiment(study.runs).itertuples()],
    }
    for name, page in render(templates, context, parts, shown).items():
        (folder / name).write_text(page, encoding="utf-8")


def build_tables(study: Study, findings: Findings) -> dict[str, Table]:
    """Every table that the results allow."""
    runs = study.runs
    built = [
        tables.performance(runs),
        tables.time(runs),
        tables.memory(runs),
        tables.optimizer_means(runs),
        tables.parameters(runs),
        tables.measures(runs),
        tables.last_epoch(findings.generalization, runs),
        tables.states(findings.learning, runs),
        tables.reach(findings.wall_clock, runs),
        tables.early_stopping(findings.stopping, runs),
        tables.memory_accounts(findings.memory, runs),
        tables.study_denominator(runs),
        *tables.against_reference(runs, study.reference),
        tables.provenance(runs, study.locked or {}),
    ]
    return {table.key: table for table in built if table is not None}


def _in_order_of_appearance(parts: dict, text: str, kind: str) -> dict:
    """Numbers follow the template: parts it names first, in its order, then those it loops over."""
    named = [key for key in re.findall(rf'doc\.{kind}\("([a-z_]+)"\)', text) if key in parts]
    return {key: parts[key] for key in [*named, *(key for key in parts if key not in named)]}


def _experiment(row, findings: Findings) -> dict[str, str]:
    states = findings.learning.of(row.experiment)
    several = len(states) > 1
    claims = [f"Seed {state.seed}: {state.claim}." if several else f"{capital(state.claim)}." for state in states]
    return {
        "id": str(row.experiment),
        "name": configuration(row.model, row.layers, row.optimizer),
        "figure": curve_key(row.experiment),
        "claim": " ".join(claims),
    }


def title(runs: pd.DataFrame) -> str:
    count = runs["experiment"].nunique()
    words = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")
    number = words[count] if count < len(words) else str(count)
    return f"{number} language {'model' if count == 1 else 'models'} compared"


def subject(runs: pd.DataFrame) -> str:
    """What was compared on what, in a sentence."""
    models = [model_name(model) for model in dict.fromkeys(runs["model"])]
    optimizers = [optimizer_name(name) for name in dict.fromkeys(runs["optimizer"])]
    layers = listed([str(layers) for layers in sorted(set(runs["layers"]))])
    first = runs.iloc[0]
    seeds = counted(runs["seed"].nunique(), "seed")
    return (
        f"{listed(models)} with {layers} {'layer' if layers == '1' else 'layers'}, trained with {listed(optimizers)} "
        f"for {counted(int(first['epochs']), 'epoch')} of {whole(first['train_tokens'])} tokens, {seeds} each, on the "
        f"corpus {first['corpus']} at scale {first['scale']}: a vocabulary of {whole(first['vocabulary'])}, windows of "
        f"{whole(first['context'])} tokens."
    )


def certainty(runs: pd.DataFrame) -> str:
    """What is, and is not, claimed of differences, and why."""
    seeds = runs.groupby("experiment")["seed"].nunique()
    bound = percent(100 * ONE_SEED_BOUND, 0)
    if seeds.min() > 1:
        return (
            "Figures are means over seeds, ± half their 95 % interval. A difference is claimed only where the 95 % "
            "interval of the paired differences over seeds does not hold zero."
        )
    opening = "With one seed" if seeds.max() == 1 else "Where an experiment has one seed"
    return (
        f"{opening}, what another seed would change is unknown. So nothing is claimed of perplexities less than "
        f"{bound} apart: independent replications of the original study’s trained runs differ by up to that much."
    )


def limits(runs: pd.DataFrame) -> list[str]:
    """What a reader can't learn from these results."""
    found = []
    if runs.groupby("experiment")["seed"].nunique().min() == 1:
        found.append("How much of a difference is the seed’s: at least one experiment ran with a single one.")
    elif runs["seed"].nunique() < 5:
        found.append(f"Small differences: {counted(runs['seed'].nunique(), 'seed')} give wide intervals.")
    found.append("Which optimizer is best when each is tuned: learning rates are the configured ones.")
    if runs["model"].nunique() > 1:
        shallow = by_experiment(runs).drop_duplicates("model")
        sizes = [f"{model_name(r.model)} {whole(r.parameters)}" for r in shallow.itertuples()]
        found.append(
            "Which architecture is better at equal size or equal tuning: their sizes are as given (with the fewest "
            f"layers, {listed(sizes)} parameters), and neither was searched for its best one."
        )
    found.append(f"Other text: everything was learned from {runs.iloc[0]['corpus']} and judged on it.")
    found.append(
        "What happens with more text or longer training: "
        f"{whole(runs['train_tokens'].max())} tokens an epoch and {counted(int(runs['epochs'].max()), 'epoch')} are "
        "what was tried."
    )
    unlike = sorted(tables.unlike_hardware(runs), key=natural)
    if unlike:
        found.append(f"Times and memory of {listed(unlike)} against the others: they ran on other hardware.")
    found.append("Times elsewhere: they hold for the hardware named under provenance, whatever else it was doing then.")
    resumed = runs[runs["resumed"].fillna(0) > 0]
    if len(resumed):
        ids = sorted(set(resumed["experiment"]), key=natural)
        found.append(f"Exact cost of {listed(ids)}: training was interrupted and went on from a checkpoint.")
    return found
