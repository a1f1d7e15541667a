"""Compare the results of two revisions: a Markdown table of the experiments that differ, with verdicts.

A revision is anything git names (a commit, a tag, HEAD~1, an experiment of `dvc exp run`); `workspace` is the files as
they lie.
"""

from __future__ import annotations

import argparse
import io

import dvc.api
import pandas as pd
from dvc.exceptions import DvcException
from scmrepo.exceptions import SCMError

from lm.compare import Results, compare_results
from lm.errors import StudyError, reported
from lm.results import schema
from lm.results.load import load_table

WORKSPACE = "workspace"


def results(revision: str) -> Results:
    return _table("runs", schema.RUNS, revision), _table("epochs", schema.EPOCHS, revision)


def _table(name: str, expected, revision: str) -> pd.DataFrame:
    path = f"reports/{name}.parquet"
    if revision == WORKSPACE:
        return load_table(path, expected, path)
    try:
        content = dvc.api.read(path, rev=revision, mode="rb")
    except (DvcException, SCMError, OSError) as error:
        raise StudyError(f"{path} at {revision}: {error}") from None
    return load_table(io.BytesIO(content), expected, f"{path} at {revision}")


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.compare", description=__doc__.splitlines()[0])
    parser.add_argument("before", nargs="?", default="HEAD", help="revision to compare with (default: %(default)s)")
    parser.add_argument("after", nargs="?", default=WORKSPACE, help="revision that changed (default: %(default)s)")
    arguments = parser.parse_args()
    names = (arguments.before, arguments.after)
    print(compare_results(results(arguments.before), results(arguments.after), names), end="")


if __name__ == "__main__":
    main()
