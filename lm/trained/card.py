"""The model card: README.md of a shared model, its sentences from a template, its figures from the run."""

from __future__ import annotations

import math
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lm.config.architectures import ARCHITECTURES
from lm.config.optimizers import OPTIMIZERS
from lm.config.run import RunConfig
from lm.corpus.tokenizer import BOUNDARY
from lm.results.statistics import Estimate
from lm.results.summary import ExperimentSummary
from lm.trained.figures import CardFigures
from lm.trained.hub import TEMPLATES, Packed
from lm.trained.runs import TrainedRun
from lm.training.history import perplexity

_PROMPT = "Fellow citizens"


def model_card(
    run: TrainedRun,
    packed: Packed,
    corpus: dict[str, Any],
    figures: CardFigures,
    license_name: str | None,
    language: str | None,
) -> str:
    """README.md, with the Hub's metadata at its top; ``corpus`` is the corpus stage's card."""
    model, metrics, summary = run.config.model, figures.metrics, figures.summary
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    context: dict[str, Any] = {
        "title": _title(run, corpus),
        "name": run.name,
        "label": ARCHITECTURES[model.architecture].label,
        "optimizer": OPTIMIZERS[run.config.optimizer.name].label,
        "model": model,
        "metrics": metrics,
        "corpus": corpus,
        "splits": run.card["splits"],
        "settings": _settings(run.config, figures.cost),
        "seeds": summary is not None and summary.test_loss.count > 1,
        "summary": summary,
        "test": _measures("test", metrics, summary),
        "validation": _measures("validation", metrics, summary),
        "documents": figures.documents,
        "documents_interval": _perplexities(figures.documents, mean=False),
        "unigram": f"{run.card['splits']['test']['unigram_perplexity']:,.2f}",
        "has_tokenizer": run.tokenizer is not None,
        "boundary_token": None if run.boundary is None else BOUNDARY,
        "license": license_name,
        "prompt": _PROMPT,
    }
    context["loading"] = environment.get_template(f"{model.architecture}.md.j2").render(context).strip()
    text = environment.get_template("card.md.j2").render(context)
    return f"---\n{_metadata(run, packed, corpus, metrics, license_name, language)}\n---\n\n{text}"


def _title(run: TrainedRun, corpus: dict[str, Any]) -> str:
    return f"{run.description}, trained on {corpus['source']}"


def _metadata(
    run: TrainedRun,
    packed: Packed,
    corpus: dict[str, Any],
    metrics: dict[str, Any],
    license_name: str | None,
    language: str | None,
) -> str:
    measured = (("test_perplexity", "perplexity"), ("test_bits_per_byte", "bits_per_byte"))
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=corpus["source"],
            dataset_name=corpus["source"],
            dataset_split="test",
            metric_type=kind,
            metric_value=metrics[measure],
        )
        for measure, kind in measured
        if metrics[measure] is not None
    ]
    data = ModelCardData(
        model_name=_title(run, corpus),
        library_name=packed.library,
        pipeline_tag="text-generation",
        license=license_name,
        language=language,
        tags=[run.config.model.architecture, *(["model_hub_mixin"] if packed.code else [])],
        eval_results=results or None,
    )
    return data.to_yaml().strip()


def _settings(config: RunConfig, cost: dict[str, Any]) -> list[tuple[str, str]]:
    model, training, optimizer = config.model, config.training, config.optimizer
    rows = {
        "layers": model.layers,
        "width": model.width,
        **model.sizes,
        "context": model.context,
        "norm": model.norm if "norm" in ARCHITECTURES[model.architecture].settings else None,
        "dropout": model.dropout or None,
        "optimizer": OPTIMIZERS[optimizer.name].label,
        "learning rate": optimizer.lr,
        **{key.replace("_", " "): value for key, value in optimizer.settings.items()},
        "batch": training.batch,
        "epochs": training.epochs,
        "warm-up": training.warmup or None,
        "schedule": training.schedule,
        "clip": training.clip,
        "label smoothing": training.label_smoothing or None,
        "patience": training.patience,
        "precision": cost["precision"],
        "training time": f"{cost['train_seconds']:,.0f} s on {cost['hardware']}",
        "code and libraries": f"revision {cost['revision']}, PyTorch {cost['torch']}",
    }
    return [(key, str(value)) for key, value in rows.items() if value is not None]


def _measures(split: str, metrics: dict[str, Any], summary: ExperimentSummary | None) -> dict[str, str]:
    """The split's figures as the card writes them; empty where there is none."""
    losses = bits = None
    if summary is not None:
        losses = {"test": summary.test_loss, "validation": summary.validation_loss}[split]
        bits = {"test": summary.test_bits_per_byte, "validation": summary.validation_bits_per_byte}[split]
    return {
        "perplexity": _number(metrics[f"{split}_perplexity"], 2) or "none",
        "word_perplexity": _number(metrics[f"{split}_word_perplexity"], 0),
        "bits_per_byte": _number(metrics[f"{split}_bits_per_byte"], 3),
        "seeds": _perplexities(losses),
        "bits_seeds": _interval(bits, 3),
    }


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _perplexities(losses: Estimate | None, *, mean: bool = True) -> str:
    """Of a mean loss, and of its interval's ends."""
    if losses is None or losses.mean is None or losses.low is None or losses.high is None:
        return ""
    ends = f"{_exponential(losses.low)} to {_exponential(losses.high)}"
    return f"{_exponential(losses.mean)} ({ends})" if mean else ends


def _exponential(loss: float) -> str:
    value = perplexity(loss)
    return f"{value:,.2f}" if math.isfinite(value) else "no number that can be written"


def _interval(values: Estimate | None, digits: int) -> str:
    if values is None or values.mean is None or values.low is None or values.high is None:
        return ""
    return f"{values.mean:.{digits}f} ({values.low:.{digits}f} to {values.high:.{digits}f})"
