"""Score any text under a trained model: perplexity, bits per byte, and the passages that it expected least."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from lm.config.strict import one_line
from lm.errors import StudyError, reported
from lm.trained.runs import TrainedRun, add_run_arguments, open_run
from lm.trained.scoring import Score, ScoredText, score_text
from lm.trained.texts import STANDARD_INPUT, from_file, from_standard_input, shown_path

_NOTES = """examples:
  python -m stages.score 5-42 speech.txt
  python -m stages.score 5-42 speech.txt --passages 10 --words 20
  curl -s https://example.org/speech.txt | python -m stages.score 5-42 - --json

Perplexity by token compares only under one tokenizer; bits per byte compare across tokenizers. Exit status: 0 scored;
1 an input that must be mended, named in one line; 2 an unknown option or a malformed number; 130 interrupted; 141 the
reader of the output has gone."""

_LONGEST = 400


@reported
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.score",
        description=__doc__,
        epilog=_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    parser.add_argument("file", metavar="FILE", help="a text file in UTF-8, or - for standard input")
    parser.add_argument(
        "--passages", type=int, default=5, metavar="N", help="surprising passages to show (default: %(default)s)"
    )
    parser.add_argument("--words", type=int, default=12, metavar="N", help="words a passage (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print figures and passages as JSON")
    arguments = parser.parse_args()
    try:
        score(arguments)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def score(arguments: argparse.Namespace) -> None:
    """Read the text, print what it costs; raises :class:`StudyError` for what the user must mend."""
    if arguments.passages < 0:
        raise StudyError(f"--passages: {arguments.passages}; allowed: 0 or more")
    if arguments.words < 1:
        raise StudyError(f"--words: {arguments.words}; allowed: 1 or more")
    if arguments.file == STANDARD_INPUT:
        name, text = "standard input", from_standard_input("standard input", wanted="give a text, or name a file")
    else:
        name, text = shown_path(arguments.file), from_file(Path(arguments.file))
    run = open_run(arguments)
    scored = score_text(run, text, passages=arguments.passages, words=arguments.words)
    print(
        json.dumps(_figures(run, name, scored), indent=2, ensure_ascii=False)
        if arguments.json
        else _table(run, name, scored)
    )


def _figures(run: TrainedRun, name: str, scored: ScoredText) -> dict[str, Any]:
    """An infinite perplexity is not JSON: null."""

    def figures(score: Score) -> dict[str, float | None]:
        found = {"loss": score.nll / score.tokens} | {
            measure: getattr(score, measure) for measure in ("perplexity", "word_perplexity", "bits_per_byte")
        }
        return {measure: value if math.isfinite(value) else None for measure, value in found.items()}

    text = scored.as_reported
    return {
        "text": name,
        "run": run.name,
        "tokens": text.tokens,
        "words": text.words,
        "bytes": text.bytes,
        "context": scored.context,
        "as_reported": figures(text),
        "with_context": figures(scored.with_context),
        "passages": [dataclasses.asdict(passage) for passage in scored.passages],
    }


def _table(run: TrainedRun, name: str, scored: ScoredText) -> str:
    text = scored.as_reported
    lines = [
        f"{name} under {run.name} ({run.description}): {text.words:,} words, {text.bytes:,} bytes, "
        f"{text.tokens:,} tokens predicted",
        "",
        f"{'perplexity by token':>20} {'by word':>14} {'bits a byte':>12}",
    ]
    for score, how in (
        (scored.as_reported, f"windows of {scored.context} tokens end to end, as the report scores"),
        (
            scored.with_context,
            f"{max(1, scored.context - scored.context // 2):,} tokens or more before each, fewer at the text's start",
        ),
    ):
        lines.append(f"{score.perplexity:>20,.2f} {score.word_perplexity:>14,.0f} {score.bits_per_byte:>12.3f}   {how}")
    if scored.passages:
        lines += ["", "most surprising passages, in bits a byte"]
        lines += [
            f"{passage.bits_per_byte:>8.2f}   line {passage.line}: {one_line(passage.text, _LONGEST)}"
            for passage in scored.passages
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
