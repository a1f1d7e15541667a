"""What a row of ``reports/runs.parquet`` and ``reports/epochs.parquet`` means.

The columns are declared here, with type, unit and description as Parquet field metadata, so that whoever opens
the files elsewhere needs no other document. Epochs count from 0, as in the reference study. A figure that a run
does not have (a diverged run's test perplexity, GPU memory on a CPU) is null, never zero.
"""

from __future__ import annotations

import pyarrow as pa

VERSION = "4"


def _field(name: str, kind: pa.DataType, unit: str, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"unit": unit, "description": description})


_TEXT, _INT, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()

_IDENTITY = [
    _field("experiment", _TEXT, "", "experiment id, a key of params.yaml's experiments"),
    _field("seed", _INT, "", "seed of initialization and data order"),
]

_STUDY = "over batches x batch x context, the original study's denominator, instead of predicted tokens"

RUNS = pa.schema(
    [
        *_IDENTITY,
        _field("of", _TEXT, "", "experiment whose line this one takes over and changes; null for one of its own"),
        _field("model", _TEXT, "", "architecture, a key of lm/config/architectures.py"),
        _field("layers", _INT, "layers", "depth"),
        _field("optimizer", _TEXT, "", "optimizer, a key of lm/config/optimizers.py"),
        _field("lr", _REAL, "", "learning rate"),
        _field("weight_decay", _REAL, "", "weight decay; null where the optimizer takes none"),
        _field("momentum", _REAL, "", "momentum; null where the optimizer takes none"),
        _field("beta2", _REAL, "", "decay of the squared gradients' mean; null where the optimizer takes none"),
        _field("epochs", _INT, "epochs", "epochs configured"),
        _field("batch", _INT, "windows", "windows a training step"),
        _field("context", _INT, "tokens", "tokens a window"),
        _field("width", _INT, "", "size of an embedding"),
        _field("sizes", _TEXT, "", "the architecture's own sizes, a JSON object"),
        _field("norm", _TEXT, "", "place of the layer norm, post or pre; null: the architecture has none"),
        _field("dropout", _REAL, "", "share of activations that training drops"),
        _field("warmup", _REAL, "", "share of all steps over which the learning rate rises"),
        _field("schedule", _TEXT, "", "course of the learning rate after the warm-up"),
        _field("clip", _REAL, "", "norm that gradients are clipped to; null: not clipped"),
        _field("label_smoothing", _REAL, "", "in the training loss only"),
        _field("patience", _INT, "epochs", "epochs without a better validation loss that end a run; null: none do"),
        _field("shards", _INT, "slices", "slices of a batch, their gradients summed pairwise: part of what is learned"),
        _field("corpus", _TEXT, "", "corpus name"),
        _field("scale", _TEXT, "", "scale name"),
        _field("vocabulary", _INT, "tokens", "size of the vocabulary"),
        _field("text", _TEXT, "", "SHA-256 of the validation split's tokens: losses compare where it is the same"),
        _field("validation_bytes", _INT, "bytes", "UTF-8 bytes of the validation split; null where unknown"),
        _field("status", _TEXT, "", "completed or diverged"),
        _field("diverged_step", _INT, "step", "first step whose loss was not finite, counting from 0; null otherwise"),
        _field("stopped_early", _FLAG, "", "whether patience ended the run"),
        _field("epochs_done", _INT, "epochs", "epochs completed"),
        _field("best_epoch", _INT, "epoch", "epoch of the lowest validation loss, counting from 0"),
        _field("validation_loss", _REAL, "nats/token", "validation loss at the best epoch"),
        _field("validation_perplexity", _REAL, "", "exp(total NLL / predicted tokens), best epoch, validation"),
        _field(
            "validation_bits_per_byte",
            _REAL,
            "bits/byte",
            "validation NLL over UTF-8 bytes; null where tokens lose text",
        ),
        _field("validation_word_perplexity", _REAL, "", "exp(total NLL / words), best epoch, validation"),
        _field("test_loss", _REAL, "nats/token", "test loss of the best epoch's weights"),
        _field("test_perplexity", _REAL, "", "test perplexity of the best epoch's weights"),
        _field(
            "test_bits_per_byte",
            _REAL,
            "bits/byte",
            "test NLL over UTF-8 bytes; null where tokens lose text",
        ),
        _field("test_word_perplexity", _REAL, "", "exp(test NLL / words), best epoch's weights"),
        _field("train_perplexity", _REAL, "", "running-mean train perplexity of the best epoch (as the study)"),
        _field("train_eval_perplexity", _REAL, "", "perplexity on the fixed training sample, best epoch's weights"),
        _field("last_validation_perplexity", _REAL, "", "validation perplexity after the last epoch"),
        _field("last_test_perplexity", _REAL, "", "test perplexity of the last epoch's weights"),
        _field("study_train_perplexity", _REAL, "", f"train_perplexity {_STUDY}"),
        _field("study_validation_perplexity", _REAL, "", f"validation_perplexity {_STUDY}"),
        _field("study_test_perplexity", _REAL, "", f"test_perplexity {_STUDY}"),
        _field("unigram_validation_perplexity", _REAL, "", "add-1/2 unigram model from training counts, validation"),
        _field("unigram_test_perplexity", _REAL, "", "add-1/2 unigram model from training counts, test"),
        _field("train_tokens", _INT, "tokens", "predicted training tokens an epoch"),
        _field("validation_tokens", _INT, "tokens", "predicted validation tokens"),
        _field("test_tokens", _INT, "tokens", "predicted test tokens"),
        _field("parameters", _INT, "", "all parameters, tied ones once"),
        _field("trainable_parameters", _INT, "", "parameters that the optimizer updates"),
        _field("embedding_parameters", _INT, "", "token and position embeddings"),
        _field("attention_parameters", _INT, "", "attention projections, 4(d^2 + d) a layer; 0 for the LSTM"),
        _field("train_seconds", _REAL, "s", "sum of training epochs, data included, validation not"),
        _field("validation_seconds", _REAL, "s", "sum of the epochs' validation times"),
        _field("tokens_per_second", _REAL, "tokens/s", "median over epochs of each epoch's median over steps"),
        _field("process_cpu_seconds", _REAL, "s", "this process's processor time during the training epochs"),
        _field("other_cpu_seconds", _REAL, "s", "other processes' processor time meanwhile; null where unknown"),
        _field("side_by_side", _INT, "runs", "runs trained at once, on all machines of a launch together; 1: alone"),
        _field("processes", _INT, "processes", "processes that trained the run together: part of its times alone"),
        _field("operations_per_epoch", _REAL, "", "floating-point operations of a training epoch, counted"),
        _field("memory_peak_mb", _REAL, "MiB", "peak of memory_measure over the whole run"),
        _field("memory_mean_mb", _REAL, "MiB", "mean of memory_measure between training steps"),
        _field("memory_baseline_mb", _REAL, "MiB", "memory_measure before the model was built"),
        _field("memory_footprint_mb", _REAL, "MiB", "peak of a training step above the baseline"),
        _field("memory_scoring_mb", _REAL, "MiB", "peak of scoring above the baseline"),
        _field("memory_checkpoint_mb", _REAL, "MiB", "peak of writing a checkpoint above the baseline"),
        _field("memory_measure", _TEXT, "", "what the memory figures are: rss or cuda"),
        _field("gpu_reserved_mb", _REAL, "MiB", "peak reserved by the CUDA allocator; null on a CPU"),
        _field(
            "nvml_mean_mb", _REAL, "MiB", "mean NVML used memory before training and after validation; null on a CPU"
        ),
        _field("model_parameters_mb", _REAL, "MiB", "memory model: parameters"),
        _field("model_gradients_mb", _REAL, "MiB", "memory model: gradients"),
        _field("model_optimizer_mb", _REAL, "MiB", "memory model: optimizer state"),
        _field("model_activations_mb", _REAL, "MiB", "memory model: activations kept for the backward pass"),
        _field("model_logits_mb", _REAL, "MiB", "memory model: vocabulary projection and loss buffers"),
        _field("device", _TEXT, "", "cpu or cuda"),
        _field("precision", _TEXT, "", "precision used: fp32, tf32, bf16 or fp16"),
        _field("threads", _INT, "threads", "CPU threads used"),
        _field("hardware", _TEXT, "", "processor or GPU name and counts: rows that differ here do not compare in time"),
        _field("torch", _TEXT, "", "PyTorch version"),
        _field("python", _TEXT, "", "Python version"),
        _field("revision", _TEXT, "", "git revision of the code that trained, '+' when it had local changes"),
        _field("resumed", _INT, "times", "how often the run went on from a checkpoint"),
    ],
    metadata={"schema": VERSION},
)

HISTORY = (
    "experiment",
    "seed",
    "label",
    "epoch",
    "train_loss",
    "train_eval_loss",
    "validation_loss",
    "train_perplexity",
    "train_eval_perplexity",
    "validation_perplexity",
)
"""Columns of reports/history.csv, the epochs of all runs; ``label`` is what a plot colours by."""

EPOCHS = pa.schema(
    [
        *_IDENTITY,
        _field("epoch", _INT, "epoch", "counting from 0"),
        _field("train_loss", _REAL, "nats/token", "running mean while the weights change (as the study)"),
        _field("train_perplexity", _REAL, "", "exp(train_loss)"),
        _field(
            "train_eval_loss", _REAL, "nats/token", "loss on the fixed training sample with the epoch's final weights"
        ),
        _field("train_eval_perplexity", _REAL, "", "exp(train_eval_loss)"),
        _field("validation_loss", _REAL, "nats/token", "exact over the whole split"),
        _field("validation_perplexity", _REAL, "", "exp(validation_loss)"),
        _field("train_seconds", _REAL, "s", "training time of the epoch, data included, validation not"),
        _field("validation_seconds", _REAL, "s", "validation time of the epoch"),
        _field("tokens_per_second", _REAL, "tokens/s", "median over the epoch's steps"),
        _field("process_cpu_seconds", _REAL, "s", "this process's processor time during the training part"),
        _field("other_cpu_seconds", _REAL, "s", "other processes' processor time meanwhile; null where unknown"),
    ],
    metadata={"schema": VERSION},
)
