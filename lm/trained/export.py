"""A trained model as a folder that the Hugging Face Hub, or a colleague, takes as it is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tokenizers import Tokenizer, processors

from lm.corpus.documents import read_card
from lm.corpus.gpt1 import PADDING, UNKNOWN
from lm.corpus.tokenizer import BOUNDARY
from lm.errors import StudyError
from lm.trained.card import model_card
from lm.trained.figures import card_figures
from lm.trained.hub import Packed, packer
from lm.trained.runs import WEIGHTS, TrainedRun
from lm.trained.texts import shown_path


def export(
    run: TrainedRun,
    folder: Path,
    *,
    corpus: Path,
    reports: Path,
    license_name: str | None = None,
    language: str | None = None,
) -> list[Path]:
    """Write ``folder``, all or nothing: weights in fp32, config.json, tokenizer.json, README.md, and code where needed.

    ``corpus`` and ``reports`` are the folders that its card is filled from. Returns its files. Raises
    :class:`StudyError` where the folder has content already or cannot be written, and for an architecture that nobody
    has packed.
    """
    model = run.config.model
    packed = packer(model.architecture).pack(run.model, model, run.boundary)
    figures = card_figures(run, reports)
    card = model_card(run, packed, read_card(corpus), figures, license_name, language)
    _refuse_content(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(run, packed, card, partial)
        if folder.exists():
            folder.rmdir()
        os.replace(partial, folder)
    except OSError as error:
        reason = error.strerror or error
        raise StudyError(f"{shown_path(folder)}: cannot be written ({reason}); name another") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return sorted(folder.iterdir())


def _refuse_content(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise StudyError(f"{shown_path(folder)}: there already; name a folder that is new or empty")


def _write(run: TrainedRun, packed: Packed, card: str, folder: Path) -> None:
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in packed.tensors.items()}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    (folder / WEIGHTS).chmod((folder.stat().st_mode & 0o777) & ~0o111)  # it comes readable to its owner alone
    _write_json(packed.config, folder / "config.json")
    (folder / "README.md").write_text(card, encoding="utf-8")
    for path in packed.code:
        shutil.copyfile(path, folder / path.name)
    if run.tokenizer is not None:
        _document_tokenizer(run.tokenizer).save(str(folder / "tokenizer.json"))
    if packed.library == "transformers":
        if run.tokenizer is not None:
            _write_json(_tokenizer_config(run.tokenizer, run.config.model.context), folder / "tokenizer_config.json")
        ends = {"bos_token_id": run.boundary, "eos_token_id": run.boundary, "pad_token_id": run.boundary}
        drawing = {"do_sample": True, "temperature": 1.0, "top_k": 50, "top_p": 1.0}
        _write_json(
            {key: end for key, end in ends.items() if end is not None} | drawing, folder / "generation_config.json"
        )


def _document_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that puts the boundary before a text, as it stood in training; for a vocabulary without one, as it is."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    boundary = copy.token_to_id(BOUNDARY)
    if boundary is not None:
        copy.post_processor = processors.TemplateProcessing(
            single=f"{BOUNDARY} $A", pair=f"{BOUNDARY} $A {BOUNDARY} $B:1", special_tokens=[(BOUNDARY, boundary)]
        )
    return copy


def _tokenizer_config(tokenizer: Tokenizer, context: int) -> dict[str, Any]:
    if tokenizer.token_to_id(BOUNDARY) is not None:
        special = {"bos_token": BOUNDARY, "eos_token": BOUNDARY, "pad_token": BOUNDARY}
    else:
        special = {"unk_token": UNKNOWN, "pad_token": PADDING}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        **special,
    }


def _write_json(content: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
