"""The original study judged by its own figures: its statements, what becomes of them, and the report on them."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from lm.errors import StudyError
from lm.findings.depth import Deeper
from lm.findings.memory import compare_memory
from lm.findings.original import Found, Original, Truth, Unrecorded, original
from lm.findings.study import Findings, find, judge_of
from lm.findings.verdicts import Order, Reason
from lm.report.tables import reference as reference_table
from lm.results.claims import By, Claim, Topic, load_claims
from lm.results.reference import BATCH, as_results, load_reference
from lm.results.summarize import summarize
from tests.reading import figure, plain, read
from tests.synthetic import make_curves, make_results

ROOT = Path(__file__).parent.parent
REFERENCE = load_reference(ROOT / "reports" / "reference")
CLAIMS = load_claims(ROOT / "reports" / "reference" / "claims.yaml")
COMMITTED = ROOT / "reports" / "examples" / "original"
UNIGRAM = 6.54  # ln 690, tests.synthetic's
FALLING = [5.5, 5.2, 5.0, 4.9, 4.8]
RISING = [5.5, 5.0, 4.9, 5.0, 5.2]
STUCK = [6.6, 6.56, 6.55, 6.55, 6.55]


def claim(by: str, *says: str) -> Claim:
    return Claim(topic=Topic.LEARNING, answer=1, by=By(by), says=says, statement="A statement.")


def concluded(study) -> Findings:
    return find(summarize(*study), REFERENCE, {})


def judged(findings: Findings, *claims: Claim) -> Original:
    return original(findings, judge_of(findings.summaries, REFERENCE.spread), claims, REFERENCE.replications, BATCH)


def truth(study, by: str, *says: str) -> Truth:
    return judged(concluded(study), claim(by, *says)).judged[0].truth


def seeds(curve: list[float], by: float = 0.0) -> dict[int, list[float]]:
    """Five seeds that lie near each other, ``by`` above a curve."""
    return {seed: [loss + by + 0.001 * (seed % 3) for loss in curve] for seed in range(1, 6)}


PAIR = make_curves(
    {
        "1": {"run": ("lstm", 1, "adam"), "curves": seeds(FALLING), "seconds": 10.0},
        "5": {"run": ("gpt", 1, "adam"), "curves": seeds(FALLING, 0.3), "seconds": 20.0},
        "6": {"run": ("gpt", 1, "adamw"), "curves": seeds(FALLING, 0.3), "seconds": 20.0},
        "3": {"run": ("lstm", 1, "sgd"), "curves": seeds(STUCK), "seconds": 20.0},
        "7": {"run": ("gpt", 1, "sgd"), "curves": seeds(STUCK, 0.4), "seconds": 20.0},
    }
)


class TestRelations:
    @pytest.mark.parametrize(
        ("by", "says", "expected"),
        [
            ("loss", "1 < 5", Truth.RIGHT),
            ("loss", "5 > 1", Truth.RIGHT),
            ("loss", "1 > 5", Truth.WRONG),
            ("loss", "1 = 5", Truth.WRONG),
            ("loss", "5 = 6", Truth.RIGHT),
            ("loss", "5 < 6", Truth.OPEN),
            ("loss", "1 < 3", Truth.RIGHT),
            ("loss", "3 < 7", Truth.OPEN),
            ("time", "1 < 5", Truth.RIGHT),
            ("time", "5 < 1", Truth.WRONG),
            ("time", "5 < 6", Truth.OPEN),
            ("time", "1 < lstm-2-sgd", Truth.OPEN),
            ("memory", "7 < 5", Truth.RIGHT),
            ("memory", "5 < 7", Truth.WRONG),
            ("memory", "5 = 6", Truth.RIGHT),
            ("memory", "5 < 6", Truth.OPEN),
            ("stopped", "1 < 5", Truth.RIGHT),
            ("stopped", "5 < 1", Truth.WRONG),
            ("stopped", "5 < 6", Truth.OPEN),
        ],
    )
    def test_two_by_two(self, by, says, expected):
        assert truth(PAIR, by, says) is expected

    def test_a_difference_between_two_that_learned_nothing_is_none(self):
        (group,) = judged(concluded(PAIR), claim("loss", "3 < 7")).judged[0].groups
        assert group.found is Found.NEITHER_LEARNED

    def test_training(self):
        runs = {
            "9": {"run": ("lstm", 2, "adamw"), "curves": seeds(FALLING), "training": [5.0, 4.5, 4.0, 3.8, 3.6]},
            "10": {"run": ("lstm", 4, "adamw"), "curves": seeds(FALLING), "training": [5.2, 4.9, 4.7, 4.6, 4.5]},
        }
        assert truth(make_curves(runs), "training", "10 < 9") is Truth.WRONG
        assert truth(make_curves(runs), "training", "9 < 10") is Truth.RIGHT

    @pytest.mark.parametrize(
        ("says", "expected"),
        [
            (("1 < 5", "1 < 6"), Truth.RIGHT),
            (("1 < 5", "5 < 6"), Truth.OPEN),
            (("1 < 5", "5 < 6", "5 < 1"), Truth.WRONG),
        ],
    )
    def test_a_statement_is_as_true_as_its_parts(self, says, expected):
        assert truth(PAIR, "loss", *says) is expected

    def test_groups_hold_every_pair_once(self):
        groups = judged(concluded(PAIR), claim("loss", "1 < 5", "1 < 6", "5 < 6")).judged[0].groups
        assert [(g.found, [(first.id, [s.id for s in seconds]) for first, seconds in g.pairs]) for g in groups] == [
            (Found.LOWER, [("1", ["5", "6"])]),
            (Found.ALIKE, [("5", ["6"])]),
        ]


class TestStates:
    STUDY = make_curves(
        {
            "1": {"curves": FALLING},
            "5": {"run": ("gpt", 1, "adam"), "curves": RISING},
            "12": {"run": ("gpt", 4, "adamw"), "curves": STUCK},
            "10": {"run": ("lstm", 4, "adamw"), "curves": [6.6, 6.56, 6.554, 6.553, 6.55]},  # by 0.3 % an epoch at most
            "2": {"run": ("lstm", 1, "adamw"), "curves": [5.0]},
        }
    )

    @pytest.mark.parametrize(
        ("says", "expected"),
        [
            ("5 overfits", Truth.RIGHT),
            ("1 overfits", Truth.WRONG),
            ("12 overfits", Truth.WRONG),
            ("2 overfits", Truth.OPEN),
            ("12 not overfits", Truth.RIGHT),
            ("5 not overfits", Truth.WRONG),
            ("1 learned", Truth.RIGHT),
            ("12 learned", Truth.WRONG),
            ("1 still falls", Truth.RIGHT),
            ("12 still falls", Truth.WRONG),
            ("2 still falls", Truth.OPEN),
            ("10 still falls", Truth.OPEN),
        ],
    )
    def test_how_a_run_went(self, says, expected):
        assert truth(self.STUDY, "state", says) is expected


class TestWhole:
    def test_best(self):
        assert truth(PAIR, "best", "1") is Truth.RIGHT
        assert truth(PAIR, "best", "5") is Truth.WRONG
        alike = make_curves({"1": {"curves": seeds(FALLING)}, "2": {"curves": seeds(FALLING)}})
        assert truth(alike, "best", "1") is Truth.OPEN
        assert truth(alike, "best", "2") is Truth.OPEN
        assert truth(alike, "best", "1", "2") is Truth.OPEN
        assert truth(make_curves({"1": {"curves": STUCK}}), "best", "1") is Truth.OPEN

    @pytest.mark.parametrize("by", ["best", "choice"])
    def test_one_that_was_never_run_may_be_best(self, by):
        assert truth(PAIR, by, "gpt-2-sgd") is Truth.OPEN
        assert truth(PAIR, by, "1", "gpt-2-sgd") is Truth.OPEN

    def test_best_with_one_that_was_never_run(self):
        assert truth(PAIR, "best", "5", "gpt-2-sgd") is Truth.WRONG

    def test_choice(self):
        assert truth(PAIR, "choice", "1") is Truth.RIGHT
        assert truth(PAIR, "choice", "5") is Truth.WRONG
        assert truth(make_curves({"1": {"curves": STUCK}}), "choice", "1") is Truth.OPEN

    @pytest.mark.parametrize(("measured", "expected"), [(500.0, Truth.WRONG), (100.0, Truth.RIGHT), (0.0, Truth.WRONG)])
    def test_cause_of_a_difference_of_memory(self, measured, expected):
        runs = {
            name: {"run": ("gpt", 1, optimizer), "curves": FALLING, "model_optimizer_mb": state}
            | {"memory_footprint_mb": 500.0 + more}
            for name, optimizer, state, more in (("5", "adam", 100.0, measured), ("7", "sgd", 0.0, 0.0))
        }
        assert truth(make_curves(runs), "cause", "state") is expected

    def test_stopping(self):
        overfitting = make_curves({"1": {"curves": RISING}, "5": {"run": ("gpt", 1, "adam"), "curves": FALLING}})
        assert truth(overfitting, "stopping", "1") is Truth.RIGHT
        assert truth(overfitting, "stopping", "1", "5") is Truth.WRONG
        harmful = make_curves({"1": {"curves": [5.5, 5.0, 5.1, 5.2, 5.3, 4.5]}})
        assert truth(harmful, "stopping", "1", "gpt-2-sgd") is Truth.WRONG

    @pytest.mark.parametrize(
        ("says", "expected"),
        [
            (("gpt-2-sgd",), Truth.OPEN),
            (("1", "gpt-2-sgd"), Truth.OPEN),
            (("3",), Truth.OPEN),
            (("7",), Truth.OPEN),
            (("1", "3", "7"), Truth.OPEN),
            (("5", "gpt-2-sgd"), Truth.WRONG),
            (("5", "3"), Truth.WRONG),
        ],
    )
    def test_stopping_of_what_cannot_be_replayed(self, says, expected):
        runs = {
            "1": {"curves": RISING},
            "3": {"run": ("lstm", 1, "sgd"), "curves": RISING, "schedule": "cosine"},
            "5": {"run": ("gpt", 1, "adam"), "curves": FALLING},
            "7": {"run": ("gpt", 1, "sgd"), "curves": [5.0, 9.9], "status": "diverged"},
        }
        assert truth(make_curves(runs), "stopping", *says) is expected
        del runs["1"], runs["5"]
        assert truth(make_curves(runs), "stopping", "3") is Truth.OPEN

    @pytest.mark.parametrize(("by", "expected"), [(-0.3, Truth.RIGHT), (0.3, Truth.WRONG), (0.0, Truth.OPEN)])
    def test_remedy(self, by, expected):
        runs = {"1": {"curves": seeds(FALLING)}, "d1": {"of": "1", "dropout": 0.2, "curves": seeds(FALLING, by)}}
        assert truth(make_curves(runs), "remedy", "helps") is expected
        assert truth(make_curves({"1": runs["1"]}), "remedy", "helps") is Truth.OPEN

    def test_what_no_run_can_tell(self):
        found = judged(concluded(PAIR), claim("limit", "untuned")).judged[0]
        assert (found.truth, found.limit.topic) == (Truth.OPEN, "untuned")


@pytest.mark.parametrize(
    ("by", "says", "words"),
    [
        ("loss", "1 < 55", "experiment: did you mean '5'? allowed: 1, "),
        ("loss", "1 better 5", "allowed: 1<5"),
        ("state", "1 overfit", "did you mean 'overfits'"),
        ("state", "lstm-2-sgd overfits", "never run"),
        ("limit", "few_seeds", "limit: "),
        ("cause", "tensors", "allowed: state"),
        ("remedy", "hurts", "allowed: helps"),
        ("time", "1 < gru-2-sgd", "unknown architecture 'gru'"),
    ],
)
def test_a_statement_that_cannot_be_read(by, says, words):
    with pytest.raises(StudyError, match=re.escape(words)) as error:
        truth(PAIR, by, says)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: 1", "expected a list of statements"),
        ("- {topic: learning, answer: 1, by: guess, says: [a], statement: b}", "by"),
        ("- {topic: learning, answer: 1, by: state, says: [], statement: b}", "says"),
        ("- {topic: learning, answer: 1, by: state, says: [a], statment: b}", "did you mean 'statement'"),
        ("- {topic: learning, answer: 1, by: state, says: [a]}", "statement: missing"),
    ],
)
def test_claims_are_checked(tmp_path, content, words):
    path = tmp_path / "claims.yaml"
    path.write_text(content)
    with pytest.raises(StudyError, match=re.escape(words)) as error:
        load_claims(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def findings() -> Findings:
    return concluded(as_results(REFERENCE))


@pytest.fixture(scope="module")
def whole(findings) -> Original:
    return judged(findings, *CLAIMS)


class TestOriginal:
    def test_what_it_got_wrong(self, whole):
        assert [each.claim.says for each in whole.that_are("wrong")] == [
            ("12 learned",),
            ("11 overfits", "12 overfits"),
            ("10 < 9",),
            ("state",),
        ]

    def test_one_percent_of_time_and_untuned_rates_tell_nothing(self, whole):
        open_ones = {each.claim.says for each in whole.that_are("open")}
        assert ("untuned",) in open_ones
        assert any("3 < 1" in says for says in open_ones)

    def test_what_it_did_not_record_is_not_made_up(self, findings, whole):
        runs, epochs = as_results(REFERENCE)
        for column in ("memory_peak_mb", "memory_footprint_mb", "test_loss", "tokens_per_second", "torch", "revision"):
            assert runs[column].isna().all(), column
        assert epochs["train_eval_loss"].isna().all()
        assert set(whole.unrecorded) == set(Unrecorded)
        assert judged(concluded(make_results())).unrecorded == ()
        assert findings.memory.whole

    def test_its_last_weights_on_the_test_split(self, whole):
        assert (whole.test.best.id, whole.test.leader.id) == ("9", "2")
        assert whole.test.verdict.order is Order.HIGHER

    def test_repetitions_have_its_batch_size(self, whole):
        counts = {each.experiment.id: each.count for each in whole.repetitions}
        assert (counts["1"], counts["11"], counts["12"]) == (4, 3, 3)

    def test_running_means_tell_what_depth_does_where_no_sample_was_scored(self, findings):
        steps = [step for series in findings.depth.series for step in series.steps]
        assert all(step.running for step in steps)
        assert [step.effect for step in steps if step.comparison.first.id == "10"] == [Deeper.LEARNED_LESS]
        assert not any(step.running for s in concluded(make_results()).depth.series for step in s.steps)

    def test_its_corrected_figures_are_those_of_its_own_report(self, findings):
        """The correction is of the loss: correcting a perplexity as if it were one gives 144.7 for 146.3."""
        for row in reference_table(findings.replication).rows:
            assert row["corrected"] == pytest.approx(row["ours"], rel=1e-4)

    def test_advice_begins_with_its_scale_and_corpus(self):
        base = (("scale", "reference"), ("corpus", "wikitext-2"))
        lines = find(summarize(*as_results(REFERENCE)), REFERENCE, {}, base).advice
        assert lines
        assert all(each.command.startswith("dvc exp run -S scale=reference -S corpus=wikitext-2 -S ") for each in lines)


class TestMemory:
    @pytest.mark.parametrize(
        ("ours", "theirs", "order"), [(100, 104, Order.LOWER), (104, 100, Order.HIGHER), (100, 102, Order.ALIKE)]
    )
    def test_beyond_noise(self, ours, theirs, order):
        one, other = self.pair(memory_footprint_mb=float(ours)), self.pair(memory_footprint_mb=float(theirs))
        assert compare_memory(one, other, 0.03).order is order

    def test_not_comparable(self):
        one = self.pair()
        assert compare_memory(one, self.pair(hardware="Other"), 0.03).reason is Reason.OTHER_HARDWARE
        none = self.pair(memory_footprint_mb=None, memory_mean_mb=None)
        assert compare_memory(one, none, 0.03).reason is Reason.NOT_MEASURED

    def pair(self, **columns):
        return summarize(*make_curves({"1": {"curves": FALLING, **columns}}))["1"]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lm.report.figures.save", _only_named)  # pictures take most of the time
        patched.setattr(sys, "argv", ["stages.reanalyse", "--root", str(ROOT), "--out", str(folder)])
        importlib.import_module("stages.reanalyse").main()
    return folder


def _only_named(canvas, path: Path) -> None:
    plt.close(canvas)
    for suffix in ("svg", "pdf"):
        path.with_name(f"{path.name}.{suffix}").touch()


class TestReport:
    @pytest.mark.parametrize("name", ["report.md", "report.tex", "report.html"])
    def test_committed_is_what_the_command_writes(self, written, name):
        assert (COMMITTED / name).read_text() == (written / name).read_text(), "run python -m stages.reanalyse"

    def test_committed_figures_are_those_it_draws(self, written):
        made, there = ({path.name for path in (folder / "figures").iterdir()} for folder in (written, COMMITTED))
        assert there == made
        assert "![Figure 1](figures/pareto.svg)" in (written / "report.md").read_text()

    def test_every_statement_stands_once_under_its_question_and_the_wrong_ones_first(self, written, whole):
        page = read((written / "report.md").read_text())
        lines = [plain(line) for line in page.prose]
        for each in whole.judged:
            shown = [line for line in lines if f"*{each.claim.statement}*" in line]
            assert len(shown) == (2 if each.truth is Truth.WRONG else 1), each.claim.statement
            word = {"right": "Right.", "wrong": "Wrong.", "open": "Cannot be told."}[each.truth]
            assert all(line.startswith(f"- **{word}**") for line in shown)
        counts = [len(whole.that_are(truth)) for truth in ("right", "wrong", "open")]
        told = re.search(r"Of (\d+) statements .* bear out (\d+) and contradict (\d+); of (\d+) they", page.text)
        assert [int(told[i]) for i in (1, 2, 3, 4)] == [sum(counts), *counts]

    def test_sentences_are_well_formed_and_no_cell_stands_for_what_was_not_recorded(self, written):
        page = read((written / "report.md").read_text())
        for line in page.prose:
            text = plain(line)
            assert not re.search(r"\b(nan|None(?! of)|inf|True|False|undefined)\b", text), line
            assert not re.search(r"  |[{}\ufdd0\ufdd1]|\(\)| [,.;:)]|\( |\.\.|,,|;;|[,;:]\.|\.;", text), line
            assert not re.search(r"(?<!\d)–(?!\d)", text.replace("“–”", "")), f"a dash for a figure: {line}"
        for caption, rows in page.tables.items():
            for head in rows[0]:
                assert any(row[head] != "–" for row in rows), f"{caption}: nothing under {head}"

    def test_published_and_corrected(self, written):
        rows = read((written / "report.md").read_text()).table("Best validation perplexity (PPL) of each experiment as")
        published = {row.experiment: row for row in REFERENCE.results}
        for row in rows:
            own = published[row["#"]]
            assert figure(row["Validation PPL, published"]) == pytest.approx(own.best_val_ppl, abs=0.06)
            assert figure(row["Train PPL, published"]) == pytest.approx(own.train_ppl_at_best, abs=0.06)
            right = own.best_val_ppl ** (1 / 0.99709), own.train_ppl_at_best ** (1 / 0.99876)
            assert [figure(row[head]) for head in row if head.startswith("corrected")] == pytest.approx(right, abs=0.06)
            assert int(row["Best epoch"]) == own.best_epoch

    def test_a_report_on_own_runs_says_nothing_of_it(self):
        assert "What the study says" not in (ROOT / "reports" / "report.md").read_text()
