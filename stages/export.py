"""Export a trained model as the Hugging Face Hub has it: a folder of weights, configuration, tokenizer and model card.

Nothing is uploaded; docs/models.md says how that is done.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.config.strict import one_line
from lm.errors import reported
from lm.trained.export import export
from lm.trained.runs import add_run_arguments, open_run

_NOTES = """examples:
  python -m stages.export 5-42 exported/gpt
  python -m stages.export 1-42 exported/lstm --license cc0-1.0 --language en

Exit status: 0 exported; 1 an input that must be mended, named in one line; 2 an unknown option; 130 interrupted."""


@reported
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.export",
        description=__doc__.rstrip(),
        epilog=_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write, new or empty")
    parser.add_argument(
        "--corpus",
        type=Path,
        default=Path("data/corpus"),
        metavar="DIR",
        help="corpus, for its license (default: %(default)s)",
    )
    parser.add_argument(
        "--reports",
        type=Path,
        default=Path("reports"),
        metavar="DIR",
        help="reports, for figures over all seeds (default: %(default)s)",
    )
    parser.add_argument(
        "--license", metavar="ID", help="license that you give the weights, by the Hub's name for it, such as mit"
    )
    parser.add_argument("--language", metavar="CODE", help="language of the corpus, such as en")
    arguments = parser.parse_args()
    try:
        run = open_run(arguments)
        files = export(
            run,
            arguments.out,
            corpus=arguments.corpus,
            reports=arguments.reports,
            license_name=arguments.license,
            language=arguments.language,
        )
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    print(f"{run.name} ({run.description}) exported to {one_line(arguments.out)}:")
    for path in files:
        print(f"  {path.name:<24} {path.stat().st_size:>12,} bytes")


if __name__ == "__main__":
    main()
