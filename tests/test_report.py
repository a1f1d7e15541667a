"""The report as documents: every format holds the same, escapes what it must, and repeats byte for byte."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lm.errors import StudyError
from lm.findings.changes import changes
from lm.findings.study import Findings, find
from lm.report import tables
from lm.report.compare import page
from lm.report.document import render
from lm.report.figures import curve_key, draw_all, drawable
from lm.report.html import Html
from lm.report.latex import Latex
from lm.report.markdown import Markdown
from lm.report.report import write_report
from lm.report.table import Column, Table, worded
from lm.report.text import counted, listed, number, percent, perplexity, power, seconds, signed_range, whole
from lm.results import schema
from lm.results.reference import load_reference
from lm.results.samples import Passage, Samples, read_samples
from lm.results.summarize import summarize
from tests.reading import read
from tests.synthetic import GRID, make_results, write
from tests.typesetting import needs_tex, typeset

ROOT = Path(__file__).parent.parent
TEMPLATES = ROOT / "reports" / "templates"
CORPUS = "Ελ_% & # $ {x} ~ ^ \\ | ` * [a](b) <i> Привет 日本語 żółć"
AWKWARD = "a_b & 100% #1 |x| *y* <z> $5 ^~\\{} `q` [r] 中"
LABELS = {"Table": "table", "Figure": "figure"}


def concluded(runs: pd.DataFrame, epochs: pd.DataFrame) -> Findings:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    return find(summarize(runs, epochs), load_reference(ROOT / "reports" / "reference"), params)


def written(
    findings: Findings, folder: Path, templates: Path = TEMPLATES, samples: Samples | None = None
) -> tuple[str, str]:
    write_report(
        findings, configuration="seeds: [42]\n", locked={}, samples=samples, templates=templates, folder=folder
    )
    return (folder / "report.md").read_text(), (folder / "report.tex").read_text()


@pytest.fixture
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time; not every test is about it."""

    def none(*arguments: object) -> dict[str, object]:
        Path(str(arguments[-1])).mkdir(parents=True)
        return {}

    monkeypatch.setattr("lm.report.report.draw_all", none)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    root = tmp_path_factory.mktemp("full")
    return root, *written(concluded(*make_results()), root / "reports")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Awkward names, several seeds, a run that diverged. A figure that warns of a missing glyph is an error."""
    grid = {AWKWARD: ("gpt", 3, "adamw"), "plain": ("lstm", 1, "sgd"), "lost": ("lstm", 2, "sgd")}
    root = tmp_path_factory.mktemp("odd")
    results = make_results(grid, seeds=(1, 2, 3), diverged=("lost",), corpus=CORPUS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return root, *written(concluded(*results), root / "reports")


class TestText:
    def test_missing_is_a_dash(self):
        for value in (None, float("nan"), float("inf")):
            assert number(value) == whole(value) == percent(value) == perplexity(value) == seconds(value) == "–"

    def test_numbers(self):
        assert number(-0.01) == "0.0"
        assert number(3.2e9) == "3.2e9"
        assert [perplexity(value) for value in (5.123, 55.55, 1234.5)] == ["5.12", "55.5", "1,234"]
        assert [percent(value) for value in (0.004, -0.123, 2.5)] == ["0.4 %", "12 %", "250 %"]
        assert [seconds(value) for value in (18.54, 600, 7200)] == ["18.5 s", "10.0 min", "2.0 h"]
        assert power(1e6) == float("inf")

    def test_lists(self):
        assert listed(["a", "b", "c"]) == "a, b and c"
        assert counted(1, "layer") == "1 layer"

    def test_markdown_escapes(self):
        text = Markdown().text(AWKWARD)
        assert r"\|x\|" in text
        assert r"\*y\*" in text
        assert "&lt;z&gt;" in text
        assert Markdown().text("# no\n1. no\n- no") == "\\# no\n\\1. no\n\\- no"

    def test_latex_escapes(self):
        text = Latex().text(AWKWARD)
        assert r"a\_b \& 100\% \#1" in text
        assert r"\textasciicircum{}\textasciitilde{}\textbackslash{}\{\}" in text
        assert "[U+4E2D]" in text
        assert text.isascii()
        assert Latex().text("żółć 50 % 中").startswith(r"żółć 50~\% {\ttfamily [U+4E2D]}")

    def test_code_keeps_backticks(self):
        assert Markdown().code("a`b") == "`` a`b ``"

    @pytest.mark.parametrize("value", [None, True, 0.123])
    def test_what_was_not_formatted_is_refused(self, value: object):
        with pytest.raises(TypeError, match="format it first"):
            Markdown().text(value)

    def test_an_interval_has_as_many_decimals_as_tell_its_ends_apart(self):
        assert signed_range([-0.123, 0.004]) == "−12.3 % to +0.4 %"
        assert signed_range([-0.0101, -0.0102]) == "−1.01 % to −1.02 %"
        assert signed_range([-0.0002, 0.0004]) == "−0.02 % to +0.04 %"
        assert signed_range([-0.00024, -0.00016]) == "−0.024 % to −0.016 %"
        assert signed_range([0.0, 0.0]) == "0.000 % to 0.000 %"
        assert signed_range([0.01, float("inf")]) == "–"


class TestTables:
    def test_every_column_and_state_has_words(self, full: tuple[Path, str, str]):
        """What a table can hold is named in the templates, not only what this study happens to hold."""
        found = concluded(*make_results(seeds=(1, 2), diverged=("12",)))
        assert len(tables.build(found, {"1-1": {"weights": "a" * 32}})) >= 14
        page_ = read(full[1])
        assert {row["State"] for row in page_.table("Best validation")} <= {
            *("still improving", "converged", "overfitting", "above unigram", "at unigram level", "at its start")
        }

    def test_orders(self):
        found = concluded(*make_results())
        assert [row["experiment"] for row in tables.performance(found.summaries).rows] == [
            *("1", "2", "3", "4", "9", "10", "5", "6", "7", "8", "11", "12")
        ]
        for table, key in ((tables.time(found), "train_seconds"), (tables.memory(found), "footprint")):
            values = [row[key] for row in table.rows]
            assert values == sorted(values)

    def test_best_of_each_architecture_is_bold_if_it_learned(self):
        summaries = concluded(*make_results()).summaries
        table = tables.performance(summaries)
        assert {table.rows[row]["model"] for row, _ in table.bold} == {"LSTM", "GPT-1"}
        stuck = concluded(*make_results({"3": GRID["3"], "5": GRID["5"]})).summaries
        assert {tables.performance(stuck).rows[row]["experiment"] for row, _ in tables.performance(stuck).bold} == {"5"}

    def test_intervals_only_with_several_seeds(self):
        one, three = (concluded(*make_results({"5": GRID["5"]}, seeds=each)).summaries for each in ((1,), (1, 2, 3)))
        assert "validation_perplexity_half" not in {column.key for column in tables.performance(one).columns}
        assert "validation_perplexity_half" in {column.key for column in tables.performance(three).columns}

    def test_disturbed_unlike_and_side_by_side_are_marked(self):
        runs, epochs = make_results({name: GRID[name] for name in ("1", "2", "5")})
        runs.loc[runs["experiment"] == "1", "other_cpu_seconds"] = runs["process_cpu_seconds"]
        runs.loc[runs["experiment"] == "2", "side_by_side"] = 2
        found = concluded(runs, epochs)
        table = tables.time(found)
        remarks = {row["experiment"]: dict(row["remarks"]) for row in table.rows}
        assert "disturbed" in remarks["1"]
        assert remarks["2"]["at_once"] == "2"
        assert remarks["5"] == {}
        assert table.facts["again"] == "1-42"

    def test_seeds_on_other_hardware_are_named_below_times_and_memory(self, tmp_path: Path, _no_figures: None):
        runs, epochs = make_results({"1": GRID["1"], "5": GRID["5"]}, seeds=(42, 43, 44))
        runs.loc[(runs["experiment"] == "5") & (runs["seed"] == 44), "hardware"] = "Other"
        markdown, _ = written(concluded(runs, epochs), tmp_path)
        said = "Seeds of experiment 5 that ran on other hardware than most of its seeds are not in the means."
        assert markdown.count(said) == 2

    def test_the_report_says_how_to_measure_again(self, tmp_path: Path, _no_figures: None):
        runs, epochs = make_results({"1": GRID["1"], "5": GRID["5"]})
        runs.loc[runs["experiment"] == "1", "other_cpu_seconds"] = runs["process_cpu_seconds"]
        markdown, _ = written(concluded(runs, epochs), tmp_path)
        assert "train@1-42" in markdown
        assert "disturbed" in {row["Remarks"] for row in read(markdown).table("Training time")}

    def test_parameters_show_attention(self):
        summaries = concluded(*make_results()).summaries
        row = next(row for row in tables.parameters(summaries).rows if row["model"] == "GPT-1")
        assert row["attention"] == 4 * (128**2 + 128)

    def test_latex_of_long_tables_breaks_across_pages(self):
        def set_(rows: int) -> str:
            table = Table(key="t", columns=(Column(key="a"),), rows=tuple({"a": "x"} for _ in range(rows)))
            return Latex().table(worded(table, {"a": "A"}, None, caption="C.", note="", word="Table", position=1))

        assert r"\begin{longtable}" in set_(41)
        assert r"\begin{tabular}" in set_(40)

    def test_latex_sets_what_siunitx_cannot(self):
        table = Table(key="t", columns=(Column(key="a", digits=1),), rows=({"a": None}, {"a": 3e9}, {"a": -1.5}))
        text = Latex().table(worded(table, {"a": "A"}, None, caption="C.", note="", word="Table", position=1))
        assert r"{--} \\" in text
        assert r"{3.0e9} \\" in text
        assert "S[table-format=+1.1]" in text

    def test_a_figure_below_what_is_told_is_a_bound(self):
        column = Column(key="a", digits=3, least=0.001)
        assert [column.cell(value, {}) for value in (0.0004, 0.001, 0.25, None)] == ["<0.001", "0.001", "0.250", "–"]
        table = Table(key="t", columns=(column,), rows=({"a": 0.0004}, {"a": 0.25}))
        text = Latex().table(worded(table, {"a": "A"}, None, caption="C.", note="", word="Table", position=1))
        assert r"{\textless{}0.001} \\" in text
        assert "S[table-format=1.3]" in text

    def test_no_line_ends_between_a_figure_and_its_unit(self):
        assert Html().text("47 % in 22.1 s, 3.8 MiB, 5 seeds") == "47&nbsp;% in 22.1&nbsp;s, 3.8&nbsp;MiB, 5 seeds"
        assert Html().code("echo 5 s") == "<code>echo 5 s</code>"
        assert Latex().text("47 % in 22.1 s, 5 seeds") == r"47~\% in 22.1~s, 5 seeds"

    def test_latex_spells_in_a_block_what_it_can(self):
        assert "2 ... 64 ?" in Latex().block("2 … 64 日")


class TestDocument:
    def test_numbers_are_given_where_the_document_calls_and_references_look_ahead(self, tmp_path: Path):
        shutil.copytree(TEMPLATES, tmp_path / "templates")
        (tmp_path / "templates" / "test.md.j2").write_text(
            '{{ doc.reference("table", "states") }}\n\n{{ doc.table("depth") }}\n\n{{ doc.table("states") }}\n'
        )
        made = tables.build(concluded(*make_results()), {})
        text = render("test", tmp_path / "templates", Markdown, {}, made)
        assert text.startswith("Table 2\n")
        assert [int(found) for found in re.findall(r"\*\*Table (\d+)\.\*\*", text)] == [1, 2]

    def test_a_reference_to_what_is_never_called_is_refused(self, tmp_path: Path):
        shutil.copytree(TEMPLATES, tmp_path / "templates")
        (tmp_path / "templates" / "test.md.j2").write_text('{{ doc.reference("table", "states") }}')
        with pytest.raises(KeyError, match="does not call it"):
            render("test", tmp_path / "templates", Markdown, {}, tables.build(concluded(*make_results()), {}))

    def test_a_broken_template_is_named_with_its_line(self, tmp_path: Path, _no_figures: None):
        shutil.copytree(TEMPLATES, tmp_path / "templates")
        (tmp_path / "templates" / "depth.j2").write_text("fine\n{% macro answer(s) %}")
        with pytest.raises(StudyError, match=r"depth\.j2, line 2"):
            written(concluded(*make_results({"5": GRID["5"]})), tmp_path / "reports", tmp_path / "templates")

    @pytest.mark.parametrize(
        ("broken", "match"), [("fine\n{% macro a(b) %}", r"words\.j2, line 2"), (None, r"words\.j2: no")]
    )
    def test_so_is_one_whose_words_are_drawn(self, tmp_path: Path, broken: str | None, match: str):
        shutil.copytree(TEMPLATES, tmp_path / "templates")
        template = tmp_path / "templates" / "words.j2"
        template.unlink() if broken is None else template.write_text(broken)
        with pytest.raises(StudyError, match=match):
            written(concluded(*make_results({"5": GRID["5"]})), tmp_path / "reports", tmp_path / "templates")

    def test_every_figure_and_table_is_in_each(self, full: tuple[Path, str, str]):
        root, md, tex = full
        html = (root / "reports" / "report.html").read_text()
        shown = re.findall(r"\(figures/([\w-]+)\.svg\)", md)
        assert shown == re.findall(r"\{figures/([\w-]+)\.pdf\}", tex)
        assert shown == re.findall(r'<figure class="chart" id="figure-([\w-]+)">', html)
        assert len(shown) == 17
        for name in shown:
            assert (root / "reports" / "figures" / f"{name}.svg").exists()
            assert (root / "reports" / "figures" / f"{name}.pdf").exists()
        for word, count in (("Table", None), ("Figure", 17)):
            numbers = [int(found) for found in re.findall(rf"\*\*{word} (\d+)\.\*\*", md)]
            assert numbers == list(range(1, (count or len(numbers)) + 1))
            assert tex.count(rf"\begin{{{LABELS[word]}}}") == len(numbers)
            assert [int(found) for found in re.findall(rf"<b>{word} (\d+)\.</b>", html)] == numbers

    def test_the_three_main_tables_come_first(self, full: tuple[Path, str, str]):
        results = full[1].split("## Results")[1].split("## Questions")[0]
        captions = re.findall(r"\*\*Table \d\.\*\* (\w+ \w+)", results)
        assert captions == ["Best validation", "Training time", "Memory of"]

    def test_same_inputs_same_bytes(self, odd: tuple[Path, str, str], tmp_path: Path):
        grid = {AWKWARD: ("gpt", 3, "adamw"), "plain": ("lstm", 1, "sgd"), "lost": ("lstm", 2, "sgd")}
        written(concluded(*make_results(grid, seeds=(1, 2, 3), diverged=("lost",), corpus=CORPUS)), tmp_path)
        for path in sorted((odd[0] / "reports").rglob("*.*")):
            if path.is_file():
                assert (tmp_path / path.relative_to(odd[0] / "reports")).read_bytes() == path.read_bytes(), path.name

    def test_odd_names_several_seeds_and_divergence(self, odd: tuple[Path, str, str]):
        _, md, tex = odd
        assert "stopped being finite at step 421" in md
        assert md.count(Markdown().text(AWKWARD)) > 2
        assert f"corpus {Markdown().text(CORPUS)} at" in md
        assert f"corpus {Latex().text(CORPUS)} at" in " ".join(tex.split())

    @pytest.mark.usefixtures("_no_figures")
    def test_a_corpus_without_text_has_no_bits_and_words(self, tmp_path: Path):
        names = [name for name in schema.RUNS.names if name.endswith(("bits_per_byte", "word_perplexity"))]
        md, _ = written(concluded(*make_results({"5": GRID["5"]}, **dict.fromkeys(names))), tmp_path)
        assert "per byte and perplexity per word are unknown" in md
        assert "PPL/word" not in md
        assert "bits per byte)" not in md

    @pytest.mark.usefixtures("_no_figures")
    def test_beside_the_original_study(self, tmp_path: Path):
        grid = {key: GRID[key] for key in ("1", "5")}
        md, tex = written(concluded(*make_results(grid, scale="reference", corpus="wikitext-2")), tmp_path)
        for page_ in (md, tex):
            assert "Beside the original study" in page_
        assert "perplexities do not compare" in md

    def test_template_text_means_the_same_in_every_format(self):
        for path in sorted(TEMPLATES.glob("*.j2")):
            if len(path.suffixes) == 1:  # report.md.j2 and its like are one format's own
                literal = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", path.read_text(), flags=re.DOTALL)
                assert set(re.findall(r"[\\#$%&_^~<>*`|{}\[\]\"]", literal)) == set(), path.name

    def test_no_line_of_a_template_glues_words(self):
        """A line that ends with a tag loses its end: the word on the next one would stick to the one before the tag."""
        for path in sorted(TEMPLATES.glob("*.j2")):
            for line, following in itertools.pairwise(path.read_text().splitlines()):
                tag_ends_text = re.search(r"\S.*%\}$", line) and not re.match(r"\s*(\{%[^%]*%\}\s*)+$", line)
                assert not (tag_ends_text and re.match(r"\w", following)), f"{path.name}: {line}"

    def test_no_sentence_stands_in_the_room_of_findings(self):
        for path in sorted((ROOT / "lm" / "findings").glob("*.py")):
            code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
            found = [text for text in re.findall(r'"([^"\n]*)"', code) if len(text.split()) > 4]
            assert found == [], path.name


class TestWriting:
    """An old report is never lost to a rendering that fails."""

    def test_a_failed_rendering_leaves_the_old_report(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        found = concluded(*make_results({"5": GRID["5"]}))
        written(found, tmp_path)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
        monkeypatch.setattr("lm.report.report.pages", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            written(found, tmp_path)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before

    def test_a_removed_experiment_leaves_no_figure(self, tmp_path: Path):
        written(concluded(*make_results({"1": GRID["1"], "5": GRID["5"]})), tmp_path)
        md, _ = written(concluded(*make_results({"1": GRID["1"]})), tmp_path)
        assert not (tmp_path / "figures" / "experiment-5.svg").exists()
        assert "GPT-1" not in md.split("Appendix: configuration")[0]
        assert md.startswith("# One language model compared")

    def test_an_unknown_backend_in_the_environment_does_not_matter(self):
        code = "import lm.report.figures"
        environment = os.environ | {"MPLBACKEND": "nonsense"}
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr

    def test_one_line_and_status_one(self, tmp_path: Path):
        command = [sys.executable, "-m", "stages.report", "--root", str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1

    def test_the_stage(self, tmp_path: Path):
        write(tmp_path / "reports", *make_results({"5": GRID["5"]}))
        for name in ("reference", "templates"):
            shutil.copytree(ROOT / "reports" / name, tmp_path / "reports" / name)
        shutil.copy(ROOT / "params.yaml", tmp_path)
        drawn_by().write(tmp_path / "reports" / "samples.json")
        command = [sys.executable, "-m", "stages.report", "--root", str(tmp_path)]
        subprocess.run(command, cwd=ROOT, check=True)
        made = {path.name for path in (tmp_path / "reports").iterdir()}
        assert {"report.md", "report.tex", "report.html", "figures", "samples.md"} <= made
        assert not [name for name in made if name.startswith(".")]


def drawn_by(text: str = AWKWARD * 3) -> Samples:
    passage = Passage(
        experiment="A & b", seed=1, model="GPT-1", layers=1, optimizer="Adam", validation_loss=5, text=text
    )
    return Samples(draws=0, top=50, count=200, decodable=True, passages=(passage,))


class TestSamples:
    def test_as_json_and_back(self, tmp_path: Path):
        drawn_by().write(tmp_path / "samples.json")
        assert read_samples(tmp_path / "samples.json") == drawn_by()
        assert read_samples(tmp_path / "none.json") is None

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"passages": [{}]}', '{"passages": 3}'])
    def test_what_is_something_else_is_refused(self, tmp_path: Path, content: str):
        (tmp_path / "samples.json").write_text(content)
        with pytest.raises(StudyError, match="not sample texts"):
            read_samples(tmp_path / "samples.json")

    def test_both_writers(self):
        markdown = render("samples", TEMPLATES, Markdown, {"samples": drawn_by("one\n\ntwo *three*")})
        assert "    one\n\n    two *three*\n" in markdown
        assert "## " in markdown
        latex = render("samples", TEMPLATES, Latex, {"samples": drawn_by()})
        assert latex.count(Latex().text(AWKWARD)) == 3

    @pytest.mark.parametrize("samples", [replace(drawn_by(), passages=()), replace(drawn_by(), decodable=False)])
    def test_none(self, samples: Samples):
        assert "There are none" in render("samples", TEMPLATES, Markdown, {"samples": samples})


class TestPdf:
    @needs_tex
    def test_compiles_cleanly_with_samples(self, full: tuple[Path, str, str]):
        root = full[0]
        shutil.copytree(TEMPLATES, root / "reports" / "templates")
        drawn_by().write(root / "reports" / "samples.json")
        typeset(root)
        assert (root / "reports" / "pdf" / "samples.tex").read_text().count(Latex().text(AWKWARD)) == 3

    @needs_tex
    @pytest.mark.parametrize("folder", ["reports", "reports/controlled", "reports/examples/original"])
    def test_the_committed_reports_compile_cleanly(self, folder: str, tmp_path: Path):
        shutil.copytree(ROOT / folder / "figures", tmp_path / folder / "figures")
        shutil.copy(ROOT / folder / "report.tex", tmp_path / folder)
        typeset(tmp_path, folder)

    @needs_tex
    def test_a_report_without_tex_names_those_that_have_it(self, full: tuple[Path, str, str]):
        with pytest.raises(AssertionError, match=r"controlled/report\.tex: no such file; allowed: reports\n"):
            typeset(full[0], "reports/controlled")

    @needs_tex
    def test_what_failed_is_tried_again(self, tmp_path: Path):
        report = tmp_path / "reports" / "report.tex"
        report.parent.mkdir()
        report.write_text("\\documentclass{article}\\begin{document}\\input{part}\\end{document}")
        with pytest.raises(
            AssertionError, match=r"report\.tex does not compile: ! LaTeX Error: File `part\.tex' not found"
        ):
            typeset(tmp_path)
        report.with_name("part.tex").write_text("there")
        typeset(tmp_path)

    @needs_tex
    def test_compiles_cleanly_whatever_things_are_called(self, odd: tuple[Path, str, str]):
        typeset(odd[0])


class TestFigures:
    def draw(self, folder: Path, runs: pd.DataFrame, epochs: pd.DataFrame) -> set[str]:
        labels = render_labels()
        found = concluded(runs, epochs)
        return set(draw_all(found.summaries, found, labels, folder))

    @pytest.mark.parametrize("loss", [78378.0, 1e300, float("inf"), float("nan")])
    def test_neither_the_huge_nor_the_infinite_ends_a_figure(self, tmp_path: Path, loss: float):
        runs, epochs = make_results({name: GRID[name] for name in ("1", "2", "5")}, epochs=3)
        hit = (epochs["experiment"] == "1") & (epochs["epoch"] >= 1)
        epochs.loc[hit, ["validation_loss", "train_loss", "train_eval_loss"]] = loss
        assert {"optimizers", "gap", "experiment-1", "experiment-5"} <= self.draw(tmp_path, runs, epochs)

    def test_times_of_nothing_and_without_end(self, tmp_path: Path):
        runs, epochs = make_results({name: GRID[name] for name in ("1", "2", "5")}, epochs=2)
        for name, value in (("1", 0.0), ("2", 1e12), ("5", 1.0)):
            runs.loc[runs["experiment"] == name, "train_seconds"] = value
        assert "pareto" in self.draw(tmp_path, runs, epochs)

    def test_absent_where_there_is_nothing(self, tmp_path: Path):
        runs, epochs = make_results({"5": GRID["5"]})
        assert self.draw(tmp_path, runs, epochs) == {"gap", "memory", "experiment-5"}

    def test_points_that_lie_on_each_other_are_labelled(self, tmp_path: Path):
        runs, epochs = make_results({name: GRID[name] for name in ("1", "2", "5")}, epochs=2)
        runs["train_seconds"] = 5.0
        assert "pareto" in self.draw(tmp_path, runs, epochs)

    def test_file_names_are_plain_and_distinct(self):
        assert re.fullmatch(r"[\w-]+", curve_key(AWKWARD))
        assert curve_key("a/b") != curve_key("a.b")

    def test_what_the_font_lacks_is_spelled(self):
        assert drawable("a中") == "a[U+4E2D]"


def render_labels() -> dict[str, str]:
    from lm.report.document import words

    return dict(words(TEMPLATES, "figures.j2").labels)


class TestCompare:
    def compared(self, before: Callable[[], tuple[pd.DataFrame, pd.DataFrame]], after: object) -> str:
        spread = load_reference(ROOT / "reports" / "reference").spread
        sides = [summarize(*before()), summarize(*after())]  # type: ignore[operator]
        return page(changes(*sides, spread, ("HEAD", "workspace")), TEMPLATES)

    def test_same(self):
        assert "the same results (12 experiments)" in self.compared(make_results, make_results)

    def test_changed_new_and_removed(self):
        text = self.compared(
            lambda: make_results({"5": GRID["5"], "9": GRID["9"], "2": GRID["2"]}),
            lambda: make_results({"5": GRID["5"], "9": ("lstm", 2, "sgd"), "extra": ("gpt", 1, "sgd")}),
        )
        rows = {row["#"]: row["Verdict"] for row in read(text).table("workspace against HEAD")}
        assert rows == {"2": "removed", "9": "worse", "extra": "new"}
        assert "1 of 4 experiments is the same" in text
