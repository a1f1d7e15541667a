"""The report as documents: both formats hold the same, escape what they must, and repeat byte for byte."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from lm.compare import compare_results
from lm.errors import StudyError
from lm.results import schema, tables
from lm.results.figures import curve_key, memory_parts, overlay_depth, overlay_optimizers, pareto_front
from lm.results.findings import find
from lm.results.findings.stopping import stopping
from lm.results.load import load_locked, load_study
from lm.results.reference import TRAIN_FACTOR, VALIDATION_FACTOR, load_reference
from lm.results.report import write_report
from lm.results.table import latex
from lm.results.text import Latex, Markdown, number, percent, perplexity, whole
from lm.runs.collect import SPLITS, study_perplexities
from tests.synthetic import GRID, make_results, write
from tests.typesetting import needs_tex, typeset

ROOT = Path(__file__).parent.parent
CORPUS = "Ελ_% & # $ {x} ~ ^ \\ | ` * [a](b) <i> Привет 日本語 żółć"
AWKWARD = "a_b & 100% #1 |x| *y* <z> $5 ^~\\{} `q` [r] 中"


def study_folder(root: Path, runs: pd.DataFrame, epochs: pd.DataFrame) -> Path:
    """A study as `dvc repro` leaves it before the report is rendered."""
    write(root / "reports", runs, epochs)
    for name in ("reference", "templates"):
        shutil.copytree(ROOT / "reports" / name, root / "reports" / name)
    shutil.copy(ROOT / "params.yaml", root)
    return root


@pytest.fixture
def _no_figures(monkeypatch) -> None:
    """Drawing takes most of the time; not every test is about it."""
    monkeypatch.setattr("lm.results.report.draw_all", lambda *_: {})


def rendered(root: Path) -> tuple[str, str]:
    write_report(load_study(root), root / "reports" / "templates", root / "reports")
    return tuple((root / "reports" / name).read_text() for name in ("report.md", "report.tex"))


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> tuple[Path, str, str]:
    root = study_folder(tmp_path_factory.mktemp("full"), *make_results())
    return root, *rendered(root)


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> tuple[Path, str, str]:
    """Awkward names, several seeds, a run that diverged. A figure that warns of a missing glyph is an error."""
    grid = {AWKWARD: ("gpt", 3, "adamw"), "plain": ("lstm", 1, "sgd"), "lost": ("lstm", 2, "sgd")}
    results = make_results(grid, seeds=(1, 2, 3), diverged=("lost",), corpus=CORPUS)
    root = study_folder(tmp_path_factory.mktemp("odd"), *results)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return root, *rendered(root)


class TestText:
    def test_missing_is_a_dash(self):
        assert number(None) == whole(float("nan")) == percent(None) == perplexity(None) == "–"

    def test_no_negative_zero(self):
        assert number(-0.01) == "0.0"

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


class TestTables:
    def test_orders(self):
        runs, _ = make_results()
        assert [row["experiment"] for row in tables.performance(runs).rows] == [
            *("1", "2", "3", "4", "9", "10", "5", "6", "7", "8", "11", "12")
        ]
        for table, key in ((tables.time(runs), "train_seconds"), (tables.memory(runs), "memory_mean_mb")):
            values = [row[key] for row in table.rows]
            assert values == sorted(values)

    def test_best_of_each_architecture_is_bold(self):
        table = tables.performance(make_results()[0])
        bold = {(table.rows[row]["model"], table.rows[row]["experiment"]) for row, _ in table.bold}
        assert {model for model, _ in bold} == {"LSTM", "GPT-1"}
        assert ("GPT-1", "5") in bold

    def test_intervals_only_with_several_seeds(self):
        one, three = (tables.performance(make_results(seeds=seeds)[0]) for seeds in ((1,), (1, 2, 3)))
        assert "±" not in [column.title for column in one.columns]
        assert "±" in [column.title for column in three.columns]

    def test_optimizer_means(self):
        runs, _ = make_results()
        table = tables.optimizer_means(runs)
        expected = runs[runs["experiment"].isin(["1", "5"])]["validation_perplexity"].mean()
        assert table.rows[0]["validation_perplexity"] == pytest.approx(expected)
        assert tables.optimizer_means(make_results({"5": GRID["5"]})[0]) is None

    def test_unlike_hardware_is_marked(self):
        runs, _ = make_results()
        runs.loc[runs["experiment"] == "3", "hardware"] = "another machine"
        table = tables.time(runs)
        assert {row["experiment"]: row["comparable"] for row in table.rows}["3"] == "no (1)"

    def test_parameters_show_attention(self):
        row = next(row for row in tables.parameters(make_results()[0]).rows if row["model"] == "GPT-1")
        assert row["attention_parameters"] == 4 * (128**2 + 128)

    def test_reference_only_at_its_scale(self):
        reference = load_reference(ROOT / "reports" / "reference")
        assert tables.against_reference(make_results()[0], reference) == ()
        learned, cost = tables.against_reference(make_results(scale="reference")[0], reference)
        assert cost.rows[0]["published_memory"] == 4457.7
        eleven = next(row for row in learned.rows if row["experiment"] == "11")
        assert eleven["corrected"] > eleven["published"]
        assert eleven["low"] > 400  # the replication with batch 8 is left out

    def test_the_studys_denominator(self):
        """Its factors on the reference data are those of reports/reference/SOURCES.md."""
        sizes = {"train_tokens": 2_356_374, "validation_tokens": 245_044, "test_tokens": 279_021}
        row = sizes | {"context": 256, "batch": 16} | {f"{split}_perplexity": math.e for split in SPLITS}
        factors = {key: math.log(value) for key, value in study_perplexities(row).items()}
        assert factors == pytest.approx(
            {
                "study_train_perplexity": TRAIN_FACTOR,
                "study_validation_perplexity": VALIDATION_FACTOR,
                "study_test_perplexity": 0.98725,
            },
            abs=5e-6,
        )
        assert study_perplexities(row | {"test_perplexity": None})["study_test_perplexity"] is None

    def test_early_stopping_lists_what_stops(self):
        runs, epochs = make_results()
        found = stopping(epochs)
        table = tables.early_stopping(found, runs)
        assert {row["experiment"] for row in table.rows} == {stop.experiment for stop in found.stops if stop.saved}
        assert tables.early_stopping(stopping(epochs[epochs["epoch"] < 1]), runs) is None

    def test_latex_of_long_tables_breaks_across_pages(self):
        table = tables.provenance(make_results(seeds=range(4))[0], {})
        assert r"\begin{longtable}" in latex(table)
        assert r"\begin{tabular}" in latex(tables.provenance(make_results()[0], {}))


class TestDocuments:
    def test_every_figure_and_table_is_in_both(self, full):
        root, md, tex = full
        shown = re.findall(r"\(figures/([\w-]+)\.svg\)", md)
        assert shown == re.findall(r"\{figures/([\w-]+)\.pdf\}", tex)
        assert len(shown) == 17
        for name in shown:
            assert (root / "reports" / "figures" / f"{name}.svg").exists()
            assert (root / "reports" / "figures" / f"{name}.pdf").exists()
        numbers = [int(found) for found in re.findall(r"\*\*Table (\d+)\.\*\*", md)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert tex.count(r"\begin{table}") == len(numbers)
        assert [int(found) for found in re.findall(r"\*\*Figure (\d+)\.\*\*", md)] == list(range(1, 18))

    def test_configuration_is_whole(self, full):
        _, md, tex = full
        assert "model: lstm, layers: 1, optimizer: adam}" in md
        assert "model: lstm, layers: 1, optimizer: adam}" in tex

    def test_same_inputs_same_bytes(self, odd):
        root = odd[0]
        files = sorted(path for path in (root / "reports").rglob("*") if path.is_file())
        before = {path: path.read_bytes() for path in files}
        rendered(root)
        assert [path for path in files if path.read_bytes() != before[path]] == []

    def test_a_removed_experiment_leaves_no_figure(self, tmp_path):
        root = study_folder(tmp_path, *make_results({"1": GRID["1"], "5": GRID["5"]}))
        rendered(root)
        write(root / "reports", *make_results({"1": GRID["1"]}))
        md, _ = rendered(root)
        assert not (root / "reports" / "figures" / "experiment-5.svg").exists()
        assert "GPT-1" not in md.split("Appendix: configuration")[0]
        assert md.startswith("# One language model compared")

    def test_odd_names_several_seeds_and_divergence(self, odd):
        _, md, tex = odd
        assert "diverged at step 421" in md
        assert md.count(Markdown().text(AWKWARD)) > 2
        assert f"corpus {Markdown().text(CORPUS)} at" in md
        assert f"corpus {Latex().text(CORPUS)} at" in " ".join(tex.split())
        assert not re.search(r"\bnan\b", md)

    @pytest.mark.usefixtures("_no_figures")
    def test_a_corpus_without_text_has_no_bits_and_words(self, tmp_path):
        names = [name for name in schema.RUNS.names if name.endswith(("bits_per_byte", "word_perplexity"))]
        md, _ = rendered(study_folder(tmp_path, *make_results({"5": GRID["5"]}, **dict.fromkeys(names))))
        assert "per byte and perplexity per word are unknown" in md
        assert "PPL/word" not in md
        assert "bits per byte, " not in md.split("are unknown")[0].split("**Table 1")[0]

    @pytest.mark.usefixtures("_no_figures")
    def test_beside_the_original_study(self, tmp_path):
        grid = {key: GRID[key] for key in ("1", "5")}
        md, tex = rendered(study_folder(tmp_path, *make_results(grid, scale="reference", corpus="wikitext-2")))
        for page in (md, tex):
            assert "Beside the original study" in page
            assert "144.2" in page
        assert "perplexities do not compare" in md

    @pytest.mark.usefixtures("_no_figures")
    def test_all_diverged_before_an_epoch(self, tmp_path):
        runs, epochs = make_results({"5": GRID["5"]}, diverged=("5",))
        for column in runs.columns[runs.columns.str.contains("perplexity|validation_loss|best_epoch")]:
            if not column.startswith("unigram"):
                runs[column] = None
        md, _ = rendered(study_folder(tmp_path, runs, epochs.iloc[:0]))
        assert "No run completed" in md

    def test_template_text_means_the_same_in_both_formats(self):
        template = (ROOT / "reports" / "templates" / "report.j2").read_text()
        literal = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", template, flags=re.DOTALL)
        assert set(re.findall(r"[\\#$%&_^~<>*`|{}\[\]\"]", literal)) == set()

    @needs_tex
    def test_latex_compiles_cleanly_with_samples(self, full):
        root = full[0]
        (root / "reports" / "samples.md").write_text(
            f"# Passages\n\n## A & b\n\nSeed 0.\n\n    {AWKWARD * 9}\n    \n    end"
        )
        typeset(root)
        included = (root / "reports" / "pdf" / "samples.tex").read_text()
        assert included.count(Latex().text(AWKWARD)) == 9
        assert "Passages" not in included

    @needs_tex
    def test_latex_compiles_cleanly_whatever_things_are_called(self, odd):
        typeset(odd[0])


class TestFigures:
    def test_captions_are_computed(self):
        runs, epochs = make_results()
        found = find(runs, epochs, {})
        for painted in (
            pareto_front(runs, found.wall_clock),
            overlay_optimizers(runs, epochs),
            overlay_depth(runs, epochs),
            memory_parts(runs, found.memory),
        ):
            canvas, caption = painted
            assert caption.endswith(".")
            plt.close(canvas)

    def test_absent_where_there_is_nothing(self):
        runs, epochs = make_results({"5": GRID["5"]})
        assert pareto_front(runs, find(runs, epochs, {}).wall_clock) is None
        assert overlay_optimizers(runs, epochs) is None
        assert overlay_depth(runs, epochs) is None

    def test_file_names_are_plain_and_distinct(self):
        assert re.fullmatch(r"[\w-]+", curve_key(AWKWARD))
        assert curve_key("a/b") != curve_key("a.b")


class TestInput:
    def test_missing_file(self, tmp_path):
        with pytest.raises(StudyError, match=r"runs\.parquet: no such file"):
            load_study(tmp_path)

    def test_not_parquet(self, tmp_path):
        root = study_folder(tmp_path, *make_results({"5": GRID["5"]}))
        (root / "reports" / "epochs.parquet").write_text("no")
        with pytest.raises(StudyError, match="not a Parquet file"):
            load_study(root)

    def test_other_columns(self, tmp_path):
        root = study_folder(tmp_path, *make_results({"5": GRID["5"]}))
        make_results()[0].drop(columns="lr").to_parquet(root / "reports" / "runs.parquet")
        with pytest.raises(StudyError, match=r"missing \['lr'\]"):
            load_study(root)

    def test_no_runs(self, tmp_path):
        runs, epochs = make_results({"5": GRID["5"]})
        with pytest.raises(StudyError, match="no runs"):
            load_study(study_folder(tmp_path, runs.iloc[:0], epochs))

    def test_one_line_and_status_one(self, tmp_path):
        command = [sys.executable, "-m", "stages.report", "--root", str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1

    def test_locked_hashes(self, tmp_path):
        (tmp_path / "dvc.lock").write_text(
            "stages:\n  train@5-42:\n    deps:\n    - {path: configs/5.json, md5: aaaa}\n"
            "    - {path: data/tokens, md5: bbbb.dir}\n    outs:\n    - {path: runs/5-42/model.safetensors, md5: cccc}"
        )
        assert load_locked(tmp_path / "dvc.lock") == {
            "5-42": {"configuration": "aaaa", "tokens": "bbbb.dir", "weights": "cccc"}
        }
        assert load_locked(tmp_path / "none") == {}


class TestCompare:
    names = ("HEAD", "workspace")

    def test_same(self):
        assert "the same results (12 experiments)" in compare_results(make_results(), make_results(), self.names)

    def test_new_timings_alone_are_no_difference(self):
        runs, epochs = make_results()
        assert "the same results" in compare_results(
            (runs, epochs), (runs.assign(train_seconds=1.0), epochs), self.names
        )

    def test_changed_new_and_removed(self):
        before = make_results({"5": GRID["5"], "9": GRID["9"], "2": GRID["2"]})
        after = make_results({"5": GRID["5"], "9": ("lstm", 2, "sgd"), "extra": ("gpt", 1, "sgd")})
        page = compare_results(before, after, self.names)
        assert "LSTM, 2 layers, AdamW → LSTM, 2 layers, SGD" in page
        assert "worse" in page
        assert "removed" in page
        assert "new" in page
        assert "1 of 4 experiments are the same" in page

    def test_schema_is_what_synthetic_results_hold(self):
        runs, epochs = make_results()
        assert list(runs.columns) == schema.RUNS.names
        assert list(epochs.columns) == schema.EPOCHS.names
