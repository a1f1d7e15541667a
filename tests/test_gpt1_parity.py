"""GPT-1 itself: all weights of a checkpoint in its public layout, carried over, give the logits of ``transformers``.

Two things differ between the study's GPT and the released one, and are put level here. The study's GELU is exact;
``afn: gelu`` of OpenAIGPTConfig is the tanh approximation, and no other of its settings is a GELU. The study has a
padding of id 0 before GPT-1's ids, so ids and logits are one further on. What remains is another way of writing the
same function: fused projections as (in, out) matrices, a causal mask of -10,000 instead of minus infinity.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

from lm.config.run import ModelConfig
from lm.embeddings.release import read_release
from lm.embeddings.tables import open_embeddings, write_embeddings
from lm.models.build import build_model
from lm.models.gpt import GPT

ENTRIES, WIDTH, LAYERS, HEADS, POSITIONS, CONTEXT = 40, 24, 3, 3, 20, 16


@pytest.fixture
def theirs() -> OpenAIGPTLMHeadModel:
    """Every weight drawn, biases and norms too, large enough that each one shows."""
    config = OpenAIGPTConfig(
        vocab_size=ENTRIES, n_positions=POSITIONS, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, afn="gelu"
    )
    model = OpenAIGPTLMHeadModel(config).eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


@pytest.fixture(params=["", "transformer."], ids=["the Hub's names", "save_pretrained's names"])
def checkpoint(request, theirs, tmp_path) -> Path:
    if request.param:
        theirs.save_pretrained(tmp_path)
    else:
        state = {name: tensor.clone() for name, tensor in theirs.transformer.state_dict().items()}
        save_file(state, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def carry(checkpoint: Path, folder: Path) -> GPT:
    """Our model with the checkpoint's tables, read as the embeddings stage does, and all its other weights."""
    tables = read_release(checkpoint, ENTRIES + 1, WIDTH, CONTEXT)
    write_embeddings(folder, tables, {"source": checkpoint.name})
    config = ModelConfig(
        architecture="gpt", layers=LAYERS, context=CONTEXT, width=WIDTH, heads=HEADS, mlp=4 * WIDTH, embeddings="gpt1"
    )
    model = build_model(config, ENTRIES + 1, open_embeddings(folder, config, ENTRIES + 1))
    source = {name.removeprefix("transformer."): tensor for name, tensor in load_file(checkpoint).items()}
    modules = {
        "attn.c_attn": "attention.query_key_value",
        "attn.c_proj": "attention.output",
        "ln_1": "attention_norm",
        "mlp.c_fc": "mlp.0",
        "mlp.c_proj": "mlp.2",
        "ln_2": "mlp_norm",
    }
    state = {}
    for layer in range(LAYERS):
        for their, our in modules.items():
            weight, bias = (source[f"h.{layer}.{their}.{part}"] for part in ("weight", "bias"))
            state[f"blocks.{layer}.{our}.weight"] = weight.T if weight.ndim == 2 else weight
            state[f"blocks.{layer}.{our}.bias"] = bias
    model.load_state_dict(state)
    return model.eval()


def logits(model: GPT, tokens: Tensor) -> Tensor:
    return model(tokens) @ model.embedding.weight.T


@torch.inference_mode()
def test_all_weights_carried_over_give_the_same_logits(checkpoint, theirs, tmp_path):
    ours = carry(checkpoint, tmp_path / "embeddings")
    tokens = torch.randint(ENTRIES, (4, CONTEXT), generator=torch.Generator().manual_seed(4))
    expected = theirs(tokens).logits
    assert expected.std() > 0.5
    exact = logits(ours, tokens + 1)
    for block in ours.blocks:
        block.mlp[1] = nn.GELU(approximate="tanh")
    found = logits(ours, tokens + 1)
    torch.testing.assert_close(found[..., 1:], expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(found[..., 0], torch.zeros(4, CONTEXT)), "the padding's row is zero, and so is its logit"
    assert (exact[..., 1:] - expected).abs().max() > 1e-4, "the two GELUs must tell themselves apart"


@torch.inference_mode()
def test_with_the_study_s_activation_in_theirs_too(checkpoint, theirs, tmp_path):
    ours = carry(checkpoint, tmp_path / "embeddings")
    for block in theirs.transformer.h:
        block.mlp.act = nn.GELU()
    tokens = torch.randint(ENTRIES, (2, 9), generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(logits(ours, tokens + 1)[..., 1:], theirs(tokens).logits, atol=1e-5, rtol=1e-5)
