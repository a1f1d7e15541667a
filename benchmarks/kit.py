"""What a machine without a network needs for ``benchmarks.gpu``: packages, tokens and embeddings in one folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from lm.errors import StudyError, writing

ROOT = Path(__file__).parents[1]
WHEELS = "wheels"
_REQUIREMENTS = "requirements.txt"
_UNFINISHED = "unfinished"
"""A file of a folder whose preparation has begun and not ended."""
_STANDARD_ERROR = 2
_NULL = "tag:yaml.org,2002:null"
_OF_TESTS = ("pytest==", "pytest-xdist==")


def required() -> list[str]:
    """Packages with their versions: what the pipeline runs on, and of the tests' requirements what runs them."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    of_tests = (ROOT / "requirements-dev.txt").read_text().splitlines()
    lines += [line for line in of_tests if line.startswith(_OF_TESTS)]
    return [line.split()[0] for line in lines if "==" in line.partition("#")[0]]


def prepare(folder: Path, scale: str, *, wheels: bool) -> list[str]:
    """Make the folder from this machine's params.yaml, corpus and network; what there is to tell of it.

    A folder whose preparation failed is prepared anew; packages that it has are not fetched again. Raises
    :class:`StudyError` for a folder that holds anything else, or where a stage fails.
    """
    from benchmarks.sizes import open_scale

    study = open_scale(scale, "--scale")
    unfinished = folder / _UNFINISHED
    if folder.exists() and any(folder.iterdir()) and not unfinished.exists():
        raise StudyError(f"--prepare: {folder} is not empty; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    for name in ("corpus", "tokens", "embeddings"):
        shutil.rmtree(folder / name, ignore_errors=True)
    told = []
    params = folder / "params.yaml"
    write_params(Path("params.yaml"), params, scale=scale)
    _stage("corpus", "--params", params, "--out", folder / "corpus")
    _stage("tokenize", "--params", params, "--corpus", folder / "corpus", "--out", folder / "tokens")
    try:
        _stage("embeddings", "--params", params, "--out", folder / "embeddings")
    except StudyError as error:
        told.append(f"{error}: the models of the study will learn their embeddings")
        write_params(Path("params.yaml"), params, scale=scale, embeddings="learned")
        _stage("embeddings", "--params", params, "--out", folder / "embeddings")
    for text in (folder / "corpus").glob("*"):
        if text.name != "card.json":
            shutil.rmtree(text) if text.is_dir() else text.unlink()
    told.append(f"{folder}: {study.corpus} at scale {scale}")
    with writing(folder / _REQUIREMENTS):
        (folder / _REQUIREMENTS).write_text("\n".join(required()) + "\n")
    command = ["pip", "download", "--dest", str(folder / WHEELS), "--requirement", str(folder / _REQUIREMENTS)]
    if wheels and subprocess.run([sys.executable, "-m", *command], stdout=_STANDARD_ERROR).returncode != 0:
        raise StudyError(f"--prepare: `{' '.join(command)}` failed; run it where there is a network")
    if not wheels:
        told.append(f"without packages: the machine with the GPU has them, or `{' '.join(command)}` fetches them")
    unfinished.unlink()
    return told


def write_params(
    source: Path,
    target: Path,
    *,
    scale: str | None = None,
    embeddings: str | None = None,
    device: str | None = None,
    experiments: list[str] | None = None,
) -> None:
    """Copy a params.yaml with these settings changed, its comments kept; of its experiments with those named alone."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """Of these copies alone: what is added to ruamel's own holds for all that the process writes."""

    Representer.add_representer(type(None), lambda dumper, _: dumper.represent_scalar(_NULL, "null"))
    yaml = YAML()
    yaml.Representer = Representer
    yaml.preserve_quotes, yaml.width = True, 120
    content = yaml.load(source.read_text(encoding="utf-8"))
    content["scale"] = scale or content["scale"]
    content["device"] = device or content["device"]
    if embeddings:
        content["scales"][content["scale"]]["embeddings"] = embeddings
    if experiments is not None:
        for name in [name for name in content["experiments"] if name not in experiments]:
            del content["experiments"][name]
    with writing(target), target.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def check(folder: Path) -> None:
    """Raise :class:`StudyError` for a folder that has not what a measurement needs."""
    if (folder / _UNFINISHED).exists():
        raise StudyError(f"{folder}: its preparation failed; run `python -m benchmarks.gpu --prepare` for it again")
    for name in ("params.yaml", "corpus/card.json", "tokens/card.json", "embeddings/card.json"):
        if not (folder / name).exists():
            raise StudyError(
                f"{folder / name}: no such file; make the folder with `python -m benchmarks.gpu --prepare`"
            )


def missing_packages() -> list[str]:
    """Those of :func:`required` that this Python has not, in whatever version."""
    names = (line.partition("==")[0] for line in required())
    return [name for name in names if not _has(name)]


def _has(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def environment(folder: Path) -> Path:
    """The Python of an environment with the folder's packages, made at the first call, without a network.

    What this Python has already is seen there too. Raises :class:`StudyError` where the packages can't be installed.
    """
    place = folder / "environment"
    python = place / "bin" / "python"
    ready = place / "ready"
    if ready.exists():
        return python
    create = [sys.executable, "-m", "venv", "--clear", "--system-site-packages", str(place)]
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(folder / WHEELS)]
    install += ["--requirement", str(folder / _REQUIREMENTS)]
    for command in (create, install):
        if subprocess.run(command, stdout=_STANDARD_ERROR).returncode != 0:
            raise StudyError(f"{folder / WHEELS}: `{' '.join(command)}` failed; prepare it with this machine's Python")
    ready.touch()
    return python


def _stage(name: str, *words: str | Path) -> None:
    """Raises :class:`StudyError` with the stage's own line."""
    command = [sys.executable, "-m", f"stages.{name}", *map(str, words)]
    done = subprocess.run(command, stdout=_STANDARD_ERROR, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StudyError(last.removeprefix("error: "))
