"""Ask a trained model for text: it goes on where the prompt ends, and what it writes is shown as it comes."""

from __future__ import annotations

import argparse
import sys
from itertools import islice

from lm.errors import StudyError, reported
from lm.trained.generation import Drawing, TextStream, stream
from lm.trained.runs import add_run_arguments, open_run
from lm.trained.texts import STANDARD_INPUT, from_argument, from_standard_input

_EXAMPLES = """examples:
  python -m stages.sample 5-42 "Fellow citizens"
  python -m stages.sample 5-42 "Fellow citizens" --temperature 0.8 --top-p 0.95 --length 300
  python -m stages.sample 5-42 "The state of" --several 3 --seed 7
  head -c 500 speech.txt | python -m stages.sample 1-42

A passage ends after --length tokens, or earlier where the model ends its document. The same command writes the same
text. Exit status: 0 written; 1 an input that must be mended, named in one line; 2 an unknown option or a malformed
number; 130 interrupted; 141 the reader of the output has gone."""

_MOST_SEEDS, _MOST_PASSAGES, _MOST_TOKENS = 2**63, 1000, 10**9


@reported
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.sample",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    parser.add_argument(
        "prompt", nargs="?", metavar="PROMPT", help="what the text begins with (default, or -: standard input)"
    )
    parser.add_argument("--length", type=int, default=200, metavar="N", help="tokens a passage (default: %(default)s)")
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="X",
        help="above 0; below 1 the likely becomes likelier, above 1 less so (default: %(default)s)",
    )
    parser.add_argument(
        "--top-k",
        type=_top_k,
        default=50,
        metavar="N",
        help="draw among the N likeliest tokens: 1 or more, or all; 1: always the likeliest (default: %(default)s)",
    )
    parser.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        metavar="X",
        help="of these, among the fewest whose probabilities add up to X: above 0, at most 1 (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws, 0 or more (default: 0)")
    parser.add_argument(
        "--several", type=int, default=1, metavar="N", help="passages, drawn with seeds N, N + 1, … (default: 1)"
    )
    arguments = parser.parse_intermixed_args()
    try:
        sample(arguments)
    except KeyboardInterrupt:
        print()
        raise SystemExit(130) from None


def sample(arguments: argparse.Namespace) -> None:
    """Read the prompt, write the passages; raises :class:`StudyError` for what the user must mend."""
    if not 1 <= arguments.length <= _MOST_TOKENS:
        raise StudyError(f"--length: {arguments.length}; allowed: 1 to {_MOST_TOKENS}")
    if not 1 <= arguments.several <= _MOST_PASSAGES:
        raise StudyError(f"--several: {arguments.several}; allowed: 1 to {_MOST_PASSAGES}")
    seeds = range(arguments.seed, arguments.seed + arguments.several)
    if seeds.start < 0 or seeds.stop > _MOST_SEEDS:
        raise StudyError(f"--seed: {arguments.seed}; allowed: 0 to {_MOST_SEEDS - arguments.several}")
    try:
        drawing = Drawing(temperature=arguments.temperature, top_k=arguments.top_k, top_p=arguments.top_p)
    except ValueError as error:
        raise StudyError(f"--{error}") from None
    if arguments.prompt in (None, STANDARD_INPUT):
        text = from_standard_input("prompt", wanted="give one after the run's name, or on standard input")
        prompt = text.removesuffix("\n")
    else:
        prompt = from_argument(arguments.prompt, "prompt")

    run = open_run(arguments)
    tokenizer = run.need_tokenizer()
    ids = tokenizer.encode(prompt).ids
    if not ids:
        raise StudyError("prompt: nothing of it is in the model's vocabulary; allowed: at least one word")
    # a prompt begins a document, and documents in training began after a boundary
    read = ids if run.boundary is None else [run.boundary, *ids]
    texts = [TextStream(tokenizer, ids) for _ in seeds]
    written = [""] * len(seeds)
    _show(_heading(seeds, 0) + prompt)
    drawn = stream(run.model, read, drawing=drawing, seeds=seeds, end=run.boundary)
    for tokens in islice(drawn, arguments.length):
        for place, token in enumerate(tokens):
            piece = "" if token is None else texts[place].add(token)
            if place == 0:
                _show(piece)
            else:
                written[place] += piece
    for place in range(len(seeds)):
        begin = "" if place == 0 else _heading(seeds, place) + prompt
        _show(begin + written[place] + texts[place].rest() + "\n")


def _top_k(text: str) -> int | None:
    try:
        return None if text == "all" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a whole number from 1 on, or all") from None


def _heading(seeds: range, place: int) -> str:
    if len(seeds) == 1:
        return ""
    return ("\n" if place else "") + f"--- {place + 1} of {len(seeds)}, seed {seeds[place]}\n"


def _show(text: str) -> None:
    """At once; and an empty text not at all, so that a closed pipe is met only where there is something to say."""
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
