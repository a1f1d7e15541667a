"""What the report says, held against itself and against the data, over invented studies. The rules are the tests.

A study may have any grid, seeds missing, runs that diverged or exploded, equal figures, one run, one epoch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from lm.findings.limits import Topic
from lm.findings.study import Findings, find
from lm.report.report import pages
from lm.results.reference import load_reference
from lm.results.summarize import summarize
from tests.invented_studies import studies
from tests.reading import Page, figure, ids, plain, read
from tests.synthetic import GRID, make_results

ROOT = Path(__file__).parent.parent
TEMPLATES = ROOT / "reports" / "templates"
REFERENCE = load_reference(ROOT / "reports" / "reference")
PARAMS: dict[str, Any] = {"scales": {"laptop": {"epochs": 5, "tokenizer": {"train_share": 0.1}}}}


@dataclass(frozen=True)
class Report:
    """A study's findings and what was rendered from them."""

    findings: Findings
    markdown: str
    latex: str
    page: Page


Study = tuple[pd.DataFrame, pd.DataFrame]


def rendered(study: Study) -> Report:
    findings = find(summarize(*study), REFERENCE, PARAMS)
    made = pages(findings, "seeds: [42]", {}, TEMPLATES, {})
    return Report(findings, made["report.md"], made["report.tex"], read(made["report.md"]))


def every_line_is_well_formed(report: Report) -> None:
    assert report.page.prose
    for line in report.page.prose:
        text = plain(line)
        assert not re.search(r"\b(nan|None(?! of)|inf|True|False|undefined)\b", text), line
        assert "  " not in line, line
        assert not re.search(r"[{}\ufdd0\ufdd1]|\(\)| [,.;:)]|\( |\.\.|,,|;;|[,;:]\.|\.;", text), line
        assert not re.search(r"(?<!\d)–(?!\d)", text.replace("“–”", "")), f"a dash for a figure: {line}"
        assert text.count("(") == text.count(")"), line
        assert text.count("“") == text.count("”"), line
        assert line.strip("-* "), "an empty bullet"
        assert re.search(r"([.:]|code\.?|\*)$", text) or text.startswith("- A:") or "·" in text, f"no full stop: {line}"
    for caption, rows in report.page.tables.items():
        assert rows, f"an empty table: {caption}"
        for row in rows:
            for cell in row.values():
                assert not re.search(r"\b(nan|None|inf)\b", cell), (caption, row)


def latex_closes_what_it_opens(report: Report) -> None:
    body = report.latex.split(r"\begin{Verbatim}")[0]
    bare = re.sub(r"\\[{}]", "", body)
    assert bare.count("{") == bare.count("}")
    prose = [line for line in bare.split(r"\begin{document}")[1].splitlines() if not line.endswith(r"\\")]
    assert [line for line in prose if re.search(r"(?<!\\)[%&#]", line)] == [], "not escaped"
    opened, closed = (sorted(re.findall(rf"\\{word}\{{(\w+)\}}", report.latex)) for word in ("begin", "end"))
    assert opened == closed
    labels = set(re.findall(r"\\label\{([\w-]+)\}", report.latex))
    assert set(re.findall(r"\\ref\{([\w-]+)\}", report.latex)) <= labels
    assert len(re.findall(r"\\caption\{", report.latex)) == len(
        re.findall(r"^\*\*(?:Table|Figure) \d+\.\*\*", report.markdown, re.M)
    )
    assert r"\item " not in re.sub(r"\\item \S", "", body), "an empty bullet"


def each_experiment_ended_in_one_way(report: Report) -> None:
    """Which learned is told from the data: below 90 % of the unigram model's perplexity, and not diverged."""
    every = [summary.id for summary in report.findings.summaries.experiments]
    answer = next(
        line
        for line in report.page.prose
        if re.match(r"(- )?(\d+ of|All|None of|The experiment)\b.* to use context", line)
    )
    answer = plain(answer).lstrip("- ").split(". A run counts")[0]
    if len(every) > 1:
        named = [experiment for group in re.findall(r"\(([^)]*)\)", answer) for experiment in ids(group)]
        assert sorted(named) == sorted(every), answer
    count = re.match(r"(\d+) of (\d+) experiments", answer)
    if count:
        able = [summary for summary in report.findings.summaries.experiments if summary.learned]
        assert (int(count[1]), int(count[2])) == (len(able), len(every))
        assert 0 < len(able) < len(every)
    words = {row["#"]: row["State"] for row in report.page.table("Best validation perplexity")}
    unlearned = {"diverged", "at its start", "above unigram", "at unigram level"}
    for summary in report.findings.summaries.experiments:
        assert (words[summary.id] in unlearned) == (not summary.learned)


def what_is_called_best_is_best(report: Report) -> None:
    table = {row["#"]: row for row in report.page.table("Best validation perplexity")}
    told = re.search(
        r"The best model is experiment (\S+) .*?with a validation perplexity of ([\d.,e]+)\.(?: |$)"
        r"|The lowest validation perplexity is ([\d.,e]+), of experiment (\S+) ",
        plain(report.page.text),
    )
    if told is None:
        assert "is called best" in report.page.text or "no model is best" in report.page.text
        assert not any(summary.learned for summary in report.findings.summaries.experiments)
        return
    best, claimed = (told[1], told[2]) if told[1] else (told[4], told[3])
    assert report.findings.summaries[best].learned, "a model that has learned nothing is called best"
    shown = figure(table[best]["Validation PPL"])
    assert shown == pytest.approx(figure(claimed), rel=0.01, abs=0.06)
    summaries = report.findings.summaries
    comparable = [
        figure(row["Validation PPL"])
        for key, row in table.items()
        if summaries[key].learned and summaries[key].text == summaries[best].text
    ]
    assert shown <= min(value for value in comparable if value is not None)
    alike = re.search(r"; experiments? (.*?) cannot be told from it\.", plain(report.page.prose[1]))
    for name in ids(alike[1]) if alike else ():
        assert name != best
        assert report.findings.summaries[name].learned


def verdicts_agree_with_their_figures(report: Report) -> None:
    for opening, column in (("Optimizers within", "Verdict"), ("Depth:", "Effect"), ("Remedies tried", "Verdict")):
        for row in report.page.table(opening):
            size = figure(row.get("Difference (%)", "–"))
            if row[column] in ("lower", "helps", "helped"):
                assert size is None or size <= 0, row
            if row[column] in ("higher", "overfits", "learned less", "worse", "made it worse"):
                assert size is None or size >= 0, row
            if row[column] == "best":
                assert size is None, row
    for row in report.page.table("Matched pairs"):
        first, second = (head for head in row if head.startswith("PPL, "))
        size = figure(row.get("Difference (%)", "–"))
        if "PPL, " + row["Better"] == first:
            assert size <= 0, row
        if "PPL, " + row["Better"] == second:
            assert size >= 0, row


def counts_of_pairs_are_those_of_the_table(report: Report) -> None:
    rows = report.page.table("Matched pairs")
    judged = [row for row in rows if row["Better"] != "neither learned"]
    untuned = any(limit.topic is Topic.UNTUNED for limit in report.findings.limits)
    for line in report.page.prose:
        if re.match(r"(- )?(\S+ is better than \S+ in |Neither |\S+ and \S+ cannot be told apart in)", line):
            assert ("This is at the learning rates and sizes as configured" in line) == untuned
        won = re.match(r"(- )?(\S+) is better than (\S+) in (?:all (\d+)|(both|the one)) matched pairs?", plain(line))
        if won:
            count = int(won[4]) if won[4] else {"both": 2, "the one": 1}[won[5]]
            assert [row["Better"] for row in judged] == [won[2]] * count
        if "cannot be compared: in none of their" in line:
            assert not judged
        if re.match(r"(- )?\S+ and \S+ cannot be told apart in", line):
            assert judged
            assert all(row["Better"] in ("alike", "not comparable", "not judged") for row in judged)


def the_pick_is_faster_and_close(report: Report) -> None:
    text = plain(report.page.text)
    told = re.search(r"take experiment (\S+) .*?: it needs (\S+) % less time than experiment (\S+), the best", text)
    if told is None:
        return
    pick, best = report.findings.summaries[told[1]], report.findings.summaries[told[3]]
    assert pick.learned
    assert best.learned
    assert pick.train_seconds.mean < best.train_seconds.mean
    assert pick.validation_loss.mean >= best.validation_loss.mean
    assert pick.hardware_mark == best.hardware_mark == 0
    assert not pick.disturbed


def summary_and_sections_say_the_same(report: Report) -> None:
    """The summary repeats the sections' answers word for word: it can't say something else."""
    summary, rest = report.markdown.split("## Results")
    for line in summary.split("## Summary")[1].splitlines():
        if line.startswith("- "):
            assert line.removeprefix("- ") in rest or line in rest, line


def a_depth_is_not_praised_over_a_base_that_failed(report: Report) -> None:
    rows = report.page.table("Depth:")
    base: dict[str, str] = {}
    for row in rows:
        if row["Effect"] == "shallowest":
            base = row
        elif row["Effect"] in ("overfits", "learned less", "worse"):
            assert report.findings.summaries[base["#"]].learned or report.findings.summaries[row["#"]].learned
        if row["Effect"] == "learned less" and "Training PPL" in row:
            ours, theirs = figure(row["Training PPL"]), figure(base["Training PPL"])
            assert ours is None or theirs is None or ours >= theirs, row
        if row["Effect"] == "overfits" and "Training PPL" in row:
            ours, theirs = figure(row["Training PPL"]), figure(base["Training PPL"])
            assert ours is None or theirs is None or ours <= theirs, row


RULES = (
    every_line_is_well_formed,
    latex_closes_what_it_opens,
    each_experiment_ended_in_one_way,
    what_is_called_best_is_best,
    verdicts_agree_with_their_figures,
    counts_of_pairs_are_those_of_the_table,
    the_pick_is_faster_and_close,
    summary_and_sections_say_the_same,
    a_depth_is_not_praised_over_a_base_that_failed,
)


def check(study: Study) -> None:
    report = rendered(study)
    for rule in RULES:
        rule(report)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=(Phase.generate,))
@given(studies())
def test_no_sentence_contradicts_another_or_the_data(study: Study):
    check(study)


@pytest.mark.parametrize("seeds", [(42,), (1, 2, 3)])
def test_the_same_of_a_study_like_the_default_one(seeds: tuple[int, ...]):
    """Invented studies seldom have an architecture that wins throughout, or a pick: these have."""
    check(make_results(seeds=seeds, diverged=("8",)))
    check(make_results({name: GRID[name] for name in ("1", "2", "5", "6")}, seeds=seeds))


@pytest.mark.parametrize("names", [("1",), tuple(GRID)], ids=["one", "all"])
def test_same_inputs_same_text(names: tuple[str, ...]):
    study = make_results({name: GRID[name] for name in names})
    assert rendered(study) == rendered(study)
