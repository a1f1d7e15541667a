"""Compare the results of two revisions: a Markdown table of the experiments that differ, with verdicts.

A revision is anything git names (a commit, a tag, HEAD~1, an experiment of `dvc exp run`); `workspace` is the files as
they lie.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import dvc.api
import pandas as pd
import pyarrow as pa
from dvc.exceptions import DvcException
from scmrepo.exceptions import SCMError

from lm.errors import StudyError, reported
from lm.findings.changes import changes
from lm.report.compare import page
from lm.results import schema
from lm.results.load import load_table
from lm.results.spread import load_spread
from lm.results.summarize import summarize
from lm.results.summary import Summaries

WORKSPACE = "workspace"


def results(revision: str) -> Summaries:
    """The summaries of a revision's two tables; raises :class:`StudyError` where it has none."""
    return summarize(_table("runs", schema.RUNS, revision), _table("epochs", schema.EPOCHS, revision))


def _table(name: str, expected: pa.Schema, revision: str) -> pd.DataFrame:
    path = f"reports/{name}.parquet"
    if not revision:
        raise StudyError(f"an empty revision; allowed: what git names, or {WORKSPACE}")
    if revision == WORKSPACE:
        return load_table(Path(path), expected, path)
    try:
        content = dvc.api.read(path, rev=revision, mode="rb")
    except AttributeError:  # of a tree or a file, which have no parents
        raise StudyError(f"{path} at {revision}: no commit") from None
    except (DvcException, SCMError, OSError) as error:
        raise StudyError(f"{path} at {revision}: {error}") from None
    # a buffer of Arrow's own: its threads still hold a Python file when the interpreter ends, and abort
    return load_table(pa.BufferReader(content), expected, f"{path} at {revision}")


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.compare", description=__doc__.splitlines()[0])
    parser.add_argument("before", nargs="?", default="HEAD", help="revision to compare with (default: %(default)s)")
    parser.add_argument("after", nargs="?", default=WORKSPACE, help="revision that changed (default: %(default)s)")
    arguments = parser.parse_args()
    spread = load_spread(Path("reports/reference/spread.csv"))
    names = arguments.before, arguments.after
    print(page(changes(results(names[0]), results(names[1]), spread, names)), end="")


if __name__ == "__main__":
    main()
