"""Sum up cross-validation: mean and spread over folds, by experiment, of DVC's experiments that have a fold each."""

from __future__ import annotations

import argparse
from pathlib import Path

from lm.errors import StudyError, reported
from lm.results.folds import join_folds, read_folds, table


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.folds", description=__doc__)
    parser.add_argument("--project", type=Path, default=Path(), help="the study's folder (default: this one)")
    studies = join_folds(read_folds(parser.parse_args().project))
    if not studies:
        raise StudyError(
            "no experiment has a fold: run `dvc exp run --queue -S split.folds=5 -S 'split.fold=range(0,5)'`, "
            "then `dvc queue start`"
        )
    print("\n\n".join(table(study) for study in studies))


if __name__ == "__main__":
    main()
