"""What ``benchmarks.gpu`` has found out, as files: measures.json, steps.csv, runs.csv and summary.md."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from benchmarks.parts import Measures, Part
from lm.errors import StudyError, reading

UNITS = {
    "step_ms": "ms a training step, median over turns; _quartile_1 and _quartile_3 are the quartiles",
    "tokens_per_second": "predicted tokens a second",
    "tflop_per_second": "10^12 operations of matrix products a second, counted by lm.models.build.step_operations",
    "memory_mib": "MiB (2^20 bytes): peak of a step above the level before the model, PyTorch's allocator",
    "memory_footprint_mb": "MiB, likewise, of a run",
    "first_step_s": "s of the first step; of a compiled contender with its compilation",
    "seconds": "s of the wall clock, start and end of the process included",
    "train_seconds": "s of training steps",
    "expected_seconds": "s of training steps, by operations and the rate measured before",
    "operations": "floating-point operations of matrix products, all epochs",
    "validation_perplexity": "exp(nats a predicted token), of the best epoch",
}


def begin(new: Measures, folder: Path) -> Measures:
    """What is known in a folder already, else ``new``; the minutes are the new ones.

    Raises :class:`StudyError` where they are damaged, or of another scale, device or kind of embeddings.
    """
    path = folder / "measures.json"
    if not path.exists():
        return new
    with reading(path, "name another --out", (ValueError, KeyError, TypeError)):
        content = json.loads(path.read_text())
        known = Measures(**{each.name: content[each.name] for each in fields(Measures)})
        known.parts, known.minutes = [Part(**part) for part in content["parts"]], new.minutes
    for name in ("scale", "device", "embeddings"):
        before, now = getattr(known, name), getattr(new, name)
        if before != now:
            raise StudyError(f"{path}: {name} '{before}', and now '{now}'; name another --out")
    return known


def write(known: Measures, folder: Path) -> None:
    """Replace the files by what is known now."""
    _replace(folder / "measures.json", json.dumps({**asdict(known), "units": UNITS}, indent=2) + "\n")
    for name, rows in (("steps", known.steps), ("runs", known.runs)):
        if not rows:
            (folder / f"{name}.csv").unlink(missing_ok=True)
        else:
            partial = folder / f".{name}.csv.partial"
            columns = list(dict.fromkeys(key for row in rows for key in row))
            with partial.open("w", newline="") as file:
                table = csv.DictWriter(file, columns, lineterminator="\n")
                table.writeheader()
                table.writerows(rows)
            os.replace(partial, folder / f"{name}.csv")
    _replace(folder / "summary.md", summary(known))


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)


def summary(known: Measures) -> str:
    """A page of Markdown: the machine, the parts, steps, runs, and what did not fit."""
    machine = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in known.machine.items())
    lines = ["# A GPU in minutes", "", f"Scale {known.scale}, device {known.device}, embeddings {known.embeddings}."]
    lines += [f"Machine: {machine or 'not described: no step was measured'}.", ""]
    if known.device == "cpu":
        lines += ["**A trial on a CPU: the figures mean nothing.**", ""]
    lines += _table(
        ["part", "status", "seconds", "limit, s", ""],
        [[each.part, each.status, f"{each.seconds:.0f}", f"{each.limit:.0f}", each.why] for each in known.parts],
    )
    if known.steps:
        lines += ["## A training step", "", "Medians, contenders in turns; ours = 1 in the last columns.", ""]
        head = ["model", "layers", "format", "plain, ms", "ours, ms", "compiled: plain, ms", "compiled: ours, ms"]
        head += ["plain, MiB", "ours, MiB", "plain / ours", "compiled plain / ours", "compiled ours / ours"]
        lines += _table(head, _steps(known))
        lines += _reasons(known)
    if known.runs:
        columns = ["run", "model", "layers", "optimizer", "status", "seconds", "expected_seconds"]
        columns += ["validation_perplexity", "tokens_per_second", "memory_footprint_mb"]
        lines += ["## The study's runs", ""]
        lines += _table(
            [column.replace("_", " ") for column in columns],
            [[_shown(run.get(column)) for column in columns] for run in known.runs],
        )
    left = [f"- {part.part}: {each}" for part in known.parts for each in part.left_out]
    if left:
        lines += ["## What did not fit", "", *left, ""]
    return "\n".join(lines)


def _steps(known: Measures) -> list[list[str]]:
    places = dict.fromkeys((row["model"], row["layers"], row["precision"]) for row in known.steps)
    rows = []
    for place in places:
        found = {
            (row["compared_in"], row["contender"]): row
            for row in known.steps
            if (row["model"], row["layers"], row["precision"]) == place
        }

        def figure(part: str, contender: str, name: str, found: dict[tuple[str, str], Any] = found) -> float | None:
            value: float | None = found.get((part, contender), {}).get(name)
            return value

        def ratio(part: str, contender: str, figure: Any = figure) -> str:
            other, ours = figure(part, contender, "step_ms"), figure(part, "ours", "step_ms")
            return f"{other / ours:.2f}" if other and ours else ""

        times = [("steps", "plain"), ("steps", "ours"), ("compiled", "plain-compiled"), ("compiled", "ours-compiled")]
        rows.append(
            [place[0], str(place[1]), place[2]]
            + [_shown(figure(*each, "step_ms")) for each in times]
            + [_shown(figure("steps", name, "memory_mib")) for name in ("plain", "ours")]
            + [ratio(*each) for each in (times[0], times[2], times[3])]
        )
    return rows


def _reasons(known: Measures) -> list[str]:
    """Why figures are not there, each reason once with the formats and contenders that it holds for."""
    reasons: dict[str, list[str]] = {}
    for row in known.steps:
        if row["status"] != "measured":
            reasons.setdefault(row["status"], []).append(f"{row['precision']} {row['contender']}")
    return [*(f"- {', '.join(dict.fromkeys(names))}: {why}" for why, names in reasons.items()), ""] if reasons else []


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines), ""]
