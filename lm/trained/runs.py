"""A trained run, opened by its name: model, tokenizer and what they were made from."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from tokenizers import Tokenizer

from lm.config.architectures import ARCHITECTURES
from lm.config.optimizers import OPTIMIZERS
from lm.config.run import RunConfig, Threads
from lm.config.strict import did_you_mean, one_line
from lm.corpus.tokenizer import BOUNDARY, FILE, load_tokenizer
from lm.corpus.windows import read_card
from lm.embeddings.tables import open_embeddings
from lm.errors import StudyError
from lm.models.build import restore_model
from lm.models.language_model import LanguageModel
from lm.trained.locked import refuse_changed

WEIGHTS = "model.safetensors"
_MOST_THREADS = TypeAdapter(Threads).json_schema()["maximum"]
_MOST_NAMES = 40


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """``card`` is that of the tokens that it was trained with; ``model`` is in evaluation mode, its weights in fp32."""

    name: str
    folder: Path
    config: RunConfig
    card: dict[str, Any]
    model: LanguageModel
    tokenizer: Tokenizer | None

    @property
    def boundary(self) -> int | None:
        """The id that stands between documents; None in a vocabulary without one, GPT-1's."""
        return None if self.tokenizer is None else self.tokenizer.token_to_id(BOUNDARY)

    @property
    def description(self) -> str:
        """``GPT-1, 1 layer, AdamW``."""
        model = self.config.model
        layers = f"{model.layers} layer{'s' if model.layers > 1 else ''}"
        return f"{ARCHITECTURES[model.architecture].label}, {layers}, {OPTIMIZERS[self.config.optimizer.name].label}"

    def need_tokenizer(self) -> Tokenizer:
        """The tokenizer; raises :class:`StudyError` where the corpus was token ids, with no vocabulary beside them."""
        if self.tokenizer is None:
            raise StudyError(
                f"{self.name}: trained on token ids without a vocabulary, so it knows no text; set gpt1.tokenizer in "
                f"params.yaml and run `dvc repro tokenize`"
            )
        return self.tokenizer


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The run to open, and where it and what it was made from lie."""
    parser.add_argument("run", metavar="RUN", help="a trained run: experiment and seed, such as 5-42")
    where = parser.add_argument_group("where things are")
    where.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="runs (default: %(default)s)")
    where.add_argument(
        "--configs", type=Path, default=Path("configs"), metavar="DIR", help="configurations (default: %(default)s)"
    )
    where.add_argument("--config", type=Path, metavar="FILE", help="the run's configuration, where it is not in DIR")
    where.add_argument(
        "--tokens", type=Path, default=Path("data/tokens"), metavar="DIR", help="tokens (default: %(default)s)"
    )
    where.add_argument(
        "--embeddings",
        type=Path,
        default=Path("data/embeddings"),
        metavar="DIR",
        help="pretrained ones (default: %(default)s)",
    )
    where.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute (default: %(default)s)"
    )
    where.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: PyTorch's)")


def open_run(arguments: argparse.Namespace) -> TrainedRun:
    """The run that the arguments of :func:`add_run_arguments` name.

    Raises :class:`StudyError` for a name that no trained run has, and for files that are missing, damaged, do not fit
    each other, or are recorded as not those that the run was trained with.
    """
    if arguments.threads is not None:
        if not 1 <= arguments.threads <= _MOST_THREADS:
            raise StudyError(f"--threads: {arguments.threads}; allowed: 1 to {_MOST_THREADS}")
        torch.set_num_threads(arguments.threads)
    device = _device(arguments.device)
    weights = _find_weights(arguments.runs, arguments.run)
    config_path = arguments.config or arguments.configs / f"{arguments.run.rpartition('-')[0]}.json"
    config = RunConfig.read(config_path)
    card = read_card(arguments.tokens)
    refuse_changed(weights, config_path, arguments.tokens)
    pretrained = open_embeddings(arguments.embeddings, config.model, card["vocabulary"])
    try:
        model = restore_model(weights, config.model, card["vocabulary"], pretrained)
    except SafetensorError as error:
        raise StudyError(f"{weights}: damaged ({one_line(error)}); run `dvc repro train@{arguments.run}`") from None
    except RuntimeError as error:  # load_state_dict's, a line each weight
        problem = one_line(str(error).strip().splitlines()[-1].strip())
        raise StudyError(
            f"{weights}: does not fit {config_path} and {arguments.tokens}: {problem}; run `dvc repro "
            f"train@{arguments.run}`"
        ) from None
    if not all(weight.isfinite().all() for weight in model.state_dict().values()):
        raise StudyError(f"{weights}: holds weights that are no finite numbers: the run diverged; nothing can be asked")
    return TrainedRun(
        name=arguments.run,
        folder=arguments.runs / arguments.run,
        config=config,
        card=card,
        model=model.to(device).eval(),
        tokenizer=_read_tokenizer(arguments.tokens),
    )


def _find_weights(runs: Path, name: str) -> Path:
    path = runs / name / WEIGHTS
    if path.is_file() and path.parent.parent == runs:
        return path
    trained = sorted((each.parent.name for each in runs.glob(f"*/{WEIGHTS}")), key=_by_numbers)
    if name in (folder.name for folder in runs.glob("*/")):
        raise StudyError(
            f"{path}: no such file, though the run's folder is there; get the weights by `dvc pull train@{name}`, or "
            f"train them by `dvc repro train@{name}`"
        )
    if not trained:
        raise StudyError(f"{runs}: holds no trained run; `dvc repro` trains them, `dvc pull` gets those trained before")
    if len(trained) > _MOST_NAMES:
        close = did_you_mean(name, trained).partition("allowed: ")[0]
        allowed = f"{close}allowed: {', '.join(trained[:_MOST_NAMES])} and {len(trained) - _MOST_NAMES} more"
    else:
        allowed = did_you_mean(name, trained)
    raise StudyError(f"{runs}: no trained run '{one_line(name)}'; {allowed}")


def _by_numbers(name: str) -> list[tuple[bool, int, str]]:
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in name.split("-")]


def _device(name: str) -> torch.device:
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise StudyError("--device: 'cuda', but PyTorch finds no CUDA device; allowed here: auto, cpu")
    return torch.device("cuda" if cuda and name != "cpu" else "cpu")


def _read_tokenizer(folder: Path) -> Tokenizer | None:
    if not (folder / FILE).exists():
        return None
    tokenizer = load_tokenizer(folder, "run `dvc repro -f tokenize`")
    # as when the tokens were made, which the file does not say: text that spells the boundary is text
    tokenizer.encode_special_tokens = tokenizer.token_to_id(BOUNDARY) is not None
    return tokenizer
