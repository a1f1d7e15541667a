"""Every command: what `--help` says, how it answers what is wrong, and that the documentation knows it."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import signal
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "commands.md").read_text()
EXAMPLES: dict[str, str] = dict(re.findall(r"^\| `python -m ([\w.]+)([^`]*)`", PAGE, flags=re.MULTILINE))
"""The page's example of each command, without its name."""
PASSES_ON = {"stages.controlled_beyond"}
"""What it does not know is another command's."""


def commands() -> list[str]:
    """Every module of stages/ and benchmarks/ that is a command."""
    return [
        f"{folder}.{path.stem}"
        for folder in ("stages", "benchmarks")
        for path in sorted((ROOT / folder).glob("*.py"))
        if '__name__ == "__main__"' in path.read_text()
    ]


COMMANDS = commands()


def call(command: str, words: str, monkeypatch) -> int:
    """The exit status of `python -m command words`, in this process."""
    monkeypatch.setattr(sys, "argv", [command, *shlex.split(words)])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(command).main()
    return end.value.code


@pytest.fixture(params=COMMANDS)
def command(request) -> str:
    return request.param


def test_all_that_lies_in_stages_is_a_command():
    modules = {f"stages.{path.stem}" for path in (ROOT / "stages").glob("*.py")} - {"stages.__init__"}
    assert modules <= set(COMMANDS)


def test_help(command, monkeypatch, capsys):
    asked = []
    printed = argparse.ArgumentParser.print_help
    monkeypatch.setattr(
        argparse.ArgumentParser, "print_help", lambda parser, file=None: (asked.append(parser), printed(parser, file))
    )
    monkeypatch.setenv("COLUMNS", "100")
    assert call(command, "--help", monkeypatch) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.startswith(f"usage: python -m {command} ")
    (parser,) = asked
    assert re.match(r"[A-Z].*[.?]", parser.description, flags=re.DOTALL), "what it does, in a sentence"
    assert "``" not in shown.out
    assert ":class:" not in shown.out
    helps = {action.dest: action.help or "" for action in parser._actions}
    assert [name for name, text in helps.items() if not text or text.startswith("default")] == []
    given = [a.dest for a in parser._actions if isinstance(a.default, int | float | Path) and a.nargs != 0]
    assert [name for name in given if "%(default)s" not in helps[name] and "(default" not in helps[name]] == []


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in PASSES_ON])
def test_an_unknown_option(command, monkeypatch, capsys):
    assert call(command, f"{EXAMPLES[command]} --colour", monkeypatch) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[0].startswith(f"usage: python -m {command} ")
    assert error[-1] == f"python -m {command}: error: unrecognized arguments: --colour"


def test_in_an_empty_folder(command, monkeypatch, capsys, tmp_path):
    """One line that names what is not there; and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    assert call(command, EXAMPLES[command], monkeypatch) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "words", "line"),
    [
        ("stages.predict", "--train-tokens 0", "--train-tokens: 0; allowed: 1 or more"),
        (
            "stages.predict",
            "--scale reference",
            "--train-tokens: missing; data/tokens is of the scale laptop, not reference",
        ),
        ("stages.predict", "--peak 0", "--peak: 0.0; allowed: above 0"),
        ("stages.compare", "''", "an empty revision; allowed: what git names, or workspace"),
        ("stages.compare", "HEAD^{tree}", "reports/runs.parquet at HEAD^{tree}: no commit"),
        ("stages.predict", "--peak nan", "--peak: nan; allowed: above 0"),
        ("stages.predict", "--utilization 1.5", "--utilization: 1.5; allowed: above 0, at most 1"),
        ("stages.samples", "--count 0", "--count: 0; allowed: 1 or more"),
        ("stages.controlled_text", "0", "TIMES: 0; allowed: 1 or more"),
    ],
)
def test_a_number_that_is_out_of_range(command, words, line, monkeypatch, capsys):
    assert call(command, words, monkeypatch) == 1
    assert capsys.readouterr() == ("", f"error: {line}\n")


def test_passages_of_damaged_files(monkeypatch, capsys, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    assert call("stages.samples", f"--tokens {tmp_path}", monkeypatch) == 1
    assert "tokenizer.json: damaged" in capsys.readouterr().err
    (tmp_path / "runs.parquet").write_text("no table")
    Tokenizer(BPE()).save(str(tmp_path / "tokenizer.json"))
    assert call("stages.samples", f"--tokens {tmp_path} --reports {tmp_path}", monkeypatch) == 1
    assert "runs.parquet: damaged" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["select", "edge", "after"])
def test_an_arm_that_is_not_there(stage, monkeypatch, capsys):
    assert call(f"stages.controlled_{stage}", "gpt_adan", monkeypatch) == 1
    expected = "error: controlled/protocol.yaml: no arm 'gpt_adan'; did you mean 'gpt_adam'? allowed: "
    assert capsys.readouterr().err.startswith(expected)


def test_an_arm_whose_rates_are_known_beforehand(monkeypatch, capsys):
    assert call("stages.controlled_after", "gpt_4_pre", monkeypatch) == 1
    assert "arms.gpt_4_pre: has no `times`" in capsys.readouterr().err


def test_a_trial_without_its_folder(monkeypatch, capsys):
    assert call("stages.controlled_beyond", "edge.json python -m stages.train --out", monkeypatch) == 2
    assert capsys.readouterr().err.endswith("error: COMMAND: has no --out RUN\n")


@pytest.mark.parametrize(
    "words", ["sampling --rounds 0", "sampling --layers 1 0", "training --threads x", "training --rounds -1"]
)
def test_a_number_that_no_benchmark_takes(words, monkeypatch, capsys):
    command, option, *values = words.split()
    assert call(f"benchmarks.{command}", shlex.join([option, *values]), monkeypatch) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith(f"error: argument {option}: {values[-1]}; allowed: a whole number, 1 or more")


def test_the_page_names_every_command():
    assert sorted(EXAMPLES) == sorted(COMMANDS)


def test_the_page_names_every_exit_status():
    told = {int(status) for status in re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)}
    stopped = {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)}
    assert told == {0, 1, 2} | stopped
