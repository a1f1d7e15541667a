"""GPT-1's token and position embeddings, as its public checkpoint and a course's ``embeddings.npz`` hold them.

The study learned nothing of the embeddings: it took GPT-1's (Radford et al. 2018) and left them as they were. Its
vocabulary is GPT-1's 40,478 entries behind a padding of id 0, so a table of the release gets a row put before it.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from lm.config.study import GPT1_CONTEXT
from lm.download import fetch
from lm.errors import StudyError

COURSE_FILE = "embeddings.npz"
REPOSITORY = "openai-community/openai-gpt"
REVISION = "61cf0c79fa2d7a182fcec7970e1f4c03a04e339b"
SHA256 = "25c82cdf1844d2d93e9120b3b628fc6c2b4fcc7801a1297f58465ba67d45deb3"
"""Of the released ``model.safetensors`` (479 MB), as the Hub lists it at :data:`REVISION`."""


def find_release(given: str | None, corpus: Path) -> Path:
    """The file to read: the one that is ``given``, the one in the corpus's folder, or the release, downloaded once.

    Raises :class:`StudyError` when the given one is no file or the download fails.
    """
    if given is not None:
        if not Path(given).is_file():
            raise StudyError(
                f"params.yaml: gpt1.embeddings: '{given}' is no file; name a model.safetensors of {REPOSITORY}, "
                f"a course's {COURSE_FILE}, or null to download"
            )
        return Path(given)
    beside_text = corpus / COURSE_FILE
    if beside_text.is_file():
        return beside_text
    return fetch(
        REPOSITORY,
        REVISION,
        "model.safetensors",
        SHA256,
        instead="set gpt1.embeddings in params.yaml to a copy of that file",
    )


def read_release(path: Path, vocabulary: int, width: int, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (vocabulary, width) and the first ``context`` positions (context, width), float32.

    Two layouts are known. ``.safetensors`` as the Hub's: ``tokens_embed.weight`` with ``vocabulary - 1`` rows, which
    get a row of zeros before them, and ``positions_embed.weight``, both with or without the prefix ``transformer.``.
    ``.npz`` as the course's: ``tokens`` with ``vocabulary`` rows, padding included and taken as it is (one without it
    gets zeros), and ``position``. Half-precision weights are widened.

    Raises :class:`StudyError` for another kind of file, one that is cut short or holds Python objects, a missing
    array, a shape that does not fit, and numbers that are not finite.
    """
    readers: dict[str, Callable[[Path], tuple[np.ndarray, np.ndarray]]] = {
        ".safetensors": _read_safetensors,
        ".npz": _read_npz,
    }
    if path.suffix not in readers:
        raise StudyError(f"{path}: embeddings are read from {' or '.join(readers)} files, not from '{path.suffix}'")
    tokens, positions = readers[path.suffix](path)
    rows = {vocabulary - 1, vocabulary} if path.suffix == ".npz" else {vocabulary - 1}
    _check(path, "tokens", tokens, rows, width)
    _check(path, "positions", positions, set(range(context, GPT1_CONTEXT + 1)), width)
    tokens, positions = (np.ascontiguousarray(table, dtype=np.float32) for table in (tokens, positions[:context]))
    for name, table in (("tokens", tokens), ("positions", positions)):
        if not np.isfinite(table).all():
            raise StudyError(f"{path}: the {name} hold numbers that are not finite; get the file anew")
    if len(tokens) < vocabulary:
        tokens = np.concatenate([np.zeros((1, width), np.float32), tokens])
    return tokens, positions


def _check(path: Path, name: str, table: np.ndarray, rows: set[int], width: int) -> None:
    if not np.issubdtype(table.dtype, np.floating):
        raise StudyError(f"{path}: the {name} are {table.dtype}, not floating-point numbers")
    if table.ndim != 2 or table.shape[0] not in rows or table.shape[1] != width:
        allowed = " or ".join(f"{n:,}" for n in sorted(rows)) if len(rows) < 3 else f"{min(rows)} to {max(rows)}"
        raise StudyError(f"{path}: the {name} have shape {table.shape}; expected {allowed} rows of {width}")


def _read_safetensors(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            found = []
            for name in ("tokens_embed.weight", "positions_embed.weight"):
                key = next((key for key in (name, f"transformer.{name}") if key in names), None)
                if key is None:
                    raise StudyError(f"{path}: no array '{name}'; is it a checkpoint of {REPOSITORY}?")
                half = file.get_slice(key).get_dtype() == "BF16"
                found.append(_read_bfloat16(path, key) if half else file.get_tensor(key))
    except (SafetensorError, OSError) as error:
        raise StudyError(f"{path}: not a whole safetensors file ({error}); get it anew") from None
    return found[0], found[1]


def _read_bfloat16(path: Path, key: str) -> np.ndarray:
    """NumPy has no bfloat16, but a float32 without its lower half is one."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(header))[key]
    start, count = 8 + header + entry["data_offsets"][0], math.prod(entry["shape"])
    upper = np.fromfile(path, dtype="<u2", count=count, offset=start)
    return (upper.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in ("tokens", "position") if name not in arrays]
            if missing:
                raise StudyError(f"{path}: no array '{missing[0]}'; it holds: {', '.join(arrays) or 'none'}")
            # a member that is no array comes as bytes
            return np.asarray(arrays["tokens"]), np.asarray(arrays["position"])
    except (ValueError, EOFError, OSError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise StudyError(f"{path}: not a whole .npz file of plain arrays ({error}); get it anew") from None
