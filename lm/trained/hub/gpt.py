"""GPT-1 as ``transformers`` loads it without any code of ours: under the name of OPT.

Its own class for GPT-1, OpenAIGPT, is another function: its GELU is the tanh approximation whatever the configuration
names, and it knows no pre-norm and no key-value cache. OPT (Zhang et al. 2022) has learned positions, a table tied to
the projection, biases everywhere, and a configuration for the rest: the exact GELU, and the norm after
(``do_layer_norm_before`` false, as its 350M model has it) or before, with one after the last block, as here. Its table
of positions begins with two rows that no token uses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lm.config.run import ModelConfig
from lm.models.gpt import GPT
from lm.models.language_model import LanguageModel
from lm.trained.hub import Packed

_UNUSED_POSITIONS = 2
_BLOCK = {
    "attention.output": "self_attn.out_proj",
    "attention_norm": "self_attn_layer_norm",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
    "mlp_norm": "final_layer_norm",
}


def pack(model: LanguageModel, config: ModelConfig, boundary: int | None) -> Packed:
    assert isinstance(model, GPT)
    decoder = "model.decoder."
    positions = model.positions.weight
    tensors = {
        f"{decoder}embed_tokens.weight": model.embedding.weight,
        f"{decoder}embed_positions.weight": torch.cat(
            [positions.new_zeros(_UNUSED_POSITIONS, config.width), positions.detach()]
        ),
    }
    for number, block in enumerate(model.blocks):
        tensors |= _block(f"{decoder}layers.{number}.", block.state_dict())
    tensors |= {f"{decoder}final_layer_norm.{kind}": each for kind, each in model.final_norm.state_dict().items()}
    settings = {
        "architectures": ["OPTForCausalLM"],
        "model_type": "opt",
        "vocab_size": len(model.embedding.weight),
        "hidden_size": config.width,
        "word_embed_proj_dim": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.sizes["heads"],
        "ffn_dim": config.sizes["mlp"],
        "max_position_embeddings": config.context,
        "activation_function": "gelu",
        "do_layer_norm_before": config.norm == "pre",
        "_remove_final_layer_norm": False,
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
        "tie_word_embeddings": True,
        "dropout": config.dropout,
        "attention_dropout": config.dropout,
        "layerdrop": 0.0,
        "init_std": 0.02,
        "use_cache": True,
        "bos_token_id": boundary,
        "eos_token_id": boundary,
        "pad_token_id": None,
        "dtype": "float32",
    }
    return Packed(tensors=tensors, config=settings, library="transformers")


def _block(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for ours, theirs in _BLOCK.items():
        for kind in ("weight", "bias"):
            found[f"{prefix}{theirs}.{kind}"] = state[f"{ours}.{kind}"]
    for kind in ("weight", "bias"):
        query, key, value = state[f"attention.query_key_value.{kind}"].chunk(3)
        for letter, part in (("q", query), ("k", key), ("v", value)):
            found[f"{prefix}self_attn.{letter}_proj.{kind}"] = part
    return found
