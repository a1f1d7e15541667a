"""Models against PyTorch's own modules, against the equations, and against the study's parameter counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lm.config.architectures import ARCHITECTURES
from lm.config.run import ModelConfig
from lm.models.attention import CausalSelfAttention, _attend
from lm.models.build import build_model, count_parameters, entry
from lm.models.embeddings import learned_embedding
from lm.models.gpt import GPT, Block
from lm.models.language_model import LanguageModel
from lm.models.lstm import LSTM
from lm.training.hardware import native_bf16_cpu

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def skip_what_no_kernel_is_for(architecture: str, dtype: torch.dtype) -> None:
    """oneDNN has no LSTM in bf16 for a processor without it, where a study's precision is never bf16."""
    if architecture == "lstm" and dtype == torch.bfloat16 and not native_bf16_cpu():
        pytest.skip("this processor has no bf16")


def reference_sizes(architecture: str, layers: int) -> ModelConfig:
    shapes = {"lstm_hidden": 512} if architecture == "lstm" else {"heads": 12, "mlp": 3072}
    return ModelConfig(architecture=architecture, layers=layers, context=256, width=768, **shapes)


@pytest.mark.parametrize(
    ("architecture", "layers", "whole", "without_embeddings"),
    [
        ("lstm", 1, 34_107_392, 3_019_520),
        ("lstm", 2, 36_208_640, 5_120_768),
        ("lstm", 4, 40_411_136, 9_323_264),
        ("gpt", 1, 38_372_352, 7_087_872),
        ("gpt", 2, 45_460_224, 2 * 7_087_872),
        ("gpt", 4, 59_635_968, 4 * 7_087_872),
    ],
)
def test_parameters_of_the_reference_study(architecture, layers, whole, without_embeddings):
    with torch.device("meta"):
        model = build_model(reference_sizes(architecture, layers), vocabulary=40_479)
    counts = count_parameters(model)
    assert counts["parameters"] == whole
    assert counts["parameters"] - counts["embedding_parameters"] == without_embeddings
    assert counts["attention_parameters"] == (layers * 4 * (768**2 + 768) if architecture == "gpt" else 0)
    assert counts["trainable_parameters"] == whole
    for table in (module for module in model.modules() if isinstance(module, nn.Embedding)):
        table.requires_grad_(False)
    assert count_parameters(model)["trainable_parameters"] == without_embeddings


def test_attention_is_four_projections():
    with torch.device("meta"):
        attention = CausalSelfAttention(768, 12)
    assert sum(parameter.numel() for parameter in attention.parameters()) == 4 * (768**2 + 768) == 2_362_368


def grow(module: nn.Module) -> None:
    """Draw every weight anew, biases and norms too, so that a swapped or forgotten one shows."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)


def copy_attention(ours: CausalSelfAttention, theirs: nn.MultiheadAttention) -> list[tuple[nn.Parameter, nn.Parameter]]:
    pairs = [
        (ours.query_key_value.weight, theirs.in_proj_weight),
        (ours.query_key_value.bias, theirs.in_proj_bias),
        (ours.output.weight, theirs.out_proj.weight),
        (ours.output.bias, theirs.out_proj.bias),
    ]
    copy(pairs)
    return pairs


def copy(pairs: list[tuple[nn.Parameter, nn.Parameter]]) -> None:
    with torch.no_grad():
        for ours, theirs in pairs:
            theirs.copy_(ours)


def compare(
    x: Tensor, ours: Tensor, x_theirs: Tensor, theirs: Tensor, pairs: list[tuple[nn.Parameter, nn.Parameter]]
) -> None:
    """Values, and the gradients of a random projection of them in the input and in every parameter."""
    direction = torch.randn_like(ours) / ours.numel() ** 0.5
    (ours * direction).sum().backward()
    (theirs * direction).sum().backward()
    torch.testing.assert_close(ours, theirs, **TOLERANCE)
    torch.testing.assert_close(x.grad, x_theirs.grad, **TOLERANCE)
    for mine, other in pairs:
        torch.testing.assert_close(mine.grad, other.grad, **TOLERANCE)


def two_inputs(*shape: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    x = torch.randn(*shape)
    return x.clone().requires_grad_(), x.clone().requires_grad_()


@pytest.mark.parametrize(("batch", "time", "width", "heads"), [(2, 7, 24, 3), (1, 1, 8, 1), (3, 33, 32, 4)])
def test_attention_equals_pytorchs(batch, time, width, heads):
    ours, theirs = CausalSelfAttention(width, heads), nn.MultiheadAttention(width, heads, batch_first=True)
    grow(ours)
    pairs = copy_attention(ours, theirs)
    x, y = two_inputs(batch, time, width)
    future = torch.triu(torch.ones(time, time, dtype=torch.bool), diagonal=1)
    expected, _ = theirs(y, y, y, attn_mask=future, need_weights=True)
    compare(x, ours(x), y, expected, pairs)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize(("batch", "time", "width", "heads", "mlp"), [(2, 9, 24, 3, 48), (1, 20, 16, 2, 64)])
def test_block_equals_pytorchs_layer(batch, time, width, heads, mlp, norm):
    ours = Block(width, heads, mlp, norm)
    theirs = nn.TransformerEncoderLayer(
        width,
        heads,
        mlp,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=1e-5,
        batch_first=True,
        norm_first=norm == "pre",
    )
    grow(ours)
    pairs = copy_block(ours, theirs)
    x, y = two_inputs(batch, time, width)
    expected = theirs(y, src_mask=nn.Transformer.generate_square_subsequent_mask(time), is_causal=True)
    compare(x, ours(x), y, expected, pairs)


def copy_block(ours: Block, theirs: nn.TransformerEncoderLayer) -> list[tuple[nn.Parameter, nn.Parameter]]:
    pairs = copy_attention(ours.attention, theirs.self_attn)
    for mine, other in (
        (ours.attention_norm, theirs.norm1),
        (ours.mlp[0], theirs.linear1),
        (ours.mlp[2], theirs.linear2),
        (ours.mlp_norm, theirs.norm2),
    ):
        pairs += [(mine.weight, other.weight), (mine.bias, other.bias)]
    copy(pairs)
    return pairs


def test_a_pre_norm_gpt_equals_pytorchs_encoder_with_a_norm_at_its_end():
    ours = build_model(ModelConfig(architecture="gpt", layers=3, context=9, width=24, heads=3, mlp=48, norm="pre"), 11)
    layer = nn.TransformerEncoderLayer(24, 3, 48, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 3, norm=nn.LayerNorm(24), enable_nested_tensor=False)
    grow(ours)
    for mine, other in zip(ours.blocks, theirs.layers, strict=True):
        copy_block(mine, other)
    theirs.norm.load_state_dict(ours.final_norm.state_dict())
    tokens = torch.randint(11, (2, 9), generator=torch.Generator().manual_seed(3))
    x = ours.embedding(tokens) + ours.positions.weight[:9]
    expected = theirs(x, mask=nn.Transformer.generate_square_subsequent_mask(9), is_causal=True)
    torch.testing.assert_close(ours(tokens), expected, **TOLERANCE)


def test_gpt_is_embeddings_positions_and_blocks():
    model = GPT(learned_embedding(11, 8), learned_embedding(6, 8), layers=2, heads=2, mlp=16)
    grow(model)
    tokens = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    expected = model.embedding.weight[tokens] + model.positions.weight[:5]
    for block in model.blocks:
        expected = block(expected)
    torch.testing.assert_close(model(tokens), expected, atol=0, rtol=0)


def step_by_step(model: LSTM, tokens: Tensor) -> Tensor:
    """Hochreiter & Schmidhuber's equations, one token and one layer at a time, from a zero state."""
    outputs = []
    hidden = [torch.zeros(len(tokens), model.lstm.hidden_size) for _ in range(model.lstm.num_layers)]
    cell = [state.clone() for state in hidden]
    for t in range(tokens.shape[1]):
        x = model.embedding.weight[tokens[:, t]]
        for layer in range(model.lstm.num_layers):
            of = {name: getattr(model.lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh")}
            bias = getattr(model.lstm, f"bias_ih_l{layer}") + getattr(model.lstm, f"bias_hh_l{layer}")
            gates = x @ of["weight_ih"].T + hidden[layer] @ of["weight_hh"].T + bias
            enter, forget, candidate, leave = gates.chunk(4, dim=1)
            cell[layer] = torch.sigmoid(forget) * cell[layer] + torch.sigmoid(enter) * torch.tanh(candidate)
            hidden[layer] = torch.sigmoid(leave) * torch.tanh(cell[layer])
            x = hidden[layer]
        outputs.append(torch.clamp(x @ model.head[0].weight.T + model.head[0].bias, min=0))
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_lstm_equals_its_equations(layers):
    ours, theirs = (LSTM(learned_embedding(13, 10), 7, layers) for _ in range(2))
    grow(ours)
    theirs.load_state_dict(ours.state_dict())
    tokens = torch.randint(13, (3, 12), generator=torch.Generator().manual_seed(3))
    value, expected = ours(tokens), step_by_step(theirs, tokens)
    direction = torch.randn_like(value) / value.numel() ** 0.5
    (value * direction).sum().backward()
    (expected * direction).sum().backward()
    torch.testing.assert_close(value, expected, **TOLERANCE)
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ["lstm", "gpt"])
def test_no_position_sees_the_future(architecture, dtype):
    """Change everything after each position: what came before must stay the same to the bit, what follows must not."""
    skip_what_no_kernel_is_for(architecture, dtype)
    shapes = {"lstm_hidden": 12} if architecture == "lstm" else {"heads": 2, "mlp": 32}
    config = ModelConfig(architecture=architecture, layers=3, context=10, width=16, **shapes)
    model = build_model(config, vocabulary=20)
    grow(model)
    tokens = torch.randint(20, (4, 10), generator=torch.Generator().manual_seed(4))
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        before = model(tokens)
        for t in range(1, 10):
            changed = tokens.clone()
            changed[:, t:] = (changed[:, t:] + 1) % 20
            after = model(changed)
            assert torch.equal(after[:, :t], before[:, :t])
            assert not torch.equal(after[:, t], before[:, t])


@pytest.mark.parametrize("architecture", ["lstm", "gpt"])
def test_initialization_follows_the_seed(architecture):
    shapes = {"lstm_hidden": 12} if architecture == "lstm" else {"heads": 2, "mlp": 32}
    config = ModelConfig(architecture=architecture, layers=2, context=8, width=16, **shapes)

    def drawn(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        return list(build_model(config, vocabulary=20).state_dict().values())

    assert all(map(torch.equal, drawn(1), drawn(1)))
    assert not all(map(torch.equal, drawn(1), drawn(2)))


@pytest.mark.parametrize("architecture", ["lstm", "gpt"])
def test_embeddings_begin_as_narrow_as_gpt1s(architecture):
    """Section 4.1 of Radford et al. 2018; over 80,000 draws, which come within 1 %."""
    shapes = {"lstm_hidden": 12} if architecture == "lstm" else {"heads": 2, "mlp": 32}
    config = ModelConfig(architecture=architecture, layers=1, context=8, width=16, **shapes)
    torch.manual_seed(1)
    table = build_model(config, vocabulary=5000).embedding.weight
    assert table.std().item() == pytest.approx(0.02, rel=0.02)
    assert table.mean().item() == pytest.approx(0, abs=0.001)


SIZES = {"lstm": {"lstm_hidden": 12}, "gpt": {"heads": 2, "mlp": 32}}
VARIANTS = [("lstm", "post"), ("gpt", "post"), ("gpt", "pre")]


def small(architecture: str, norm: str = "post", layers: int = 2, dropout: float = 0.0, context: int = 8):
    config = ModelConfig(
        architecture=architecture,
        layers=layers,
        context=context,
        width=16,
        norm=norm,
        dropout=dropout,
        **SIZES[architecture],
    )
    torch.manual_seed(5)
    return build_model(config, vocabulary=20)


class TestDropout:
    tokens = torch.randint(20, (64, 8), generator=torch.Generator().manual_seed(6))

    @pytest.mark.parametrize(("architecture", "norm"), VARIANTS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_none_is_drawn_where_it_is_zero_and_none_in_evaluation(self, architecture, norm, dtype):
        skip_what_no_kernel_is_for(architecture, dtype)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            plain, dropping = small(architecture, norm), small(architecture, norm, dropout=0.5)
            assert all(map(torch.equal, plain.state_dict().values(), dropping.state_dict().values()))
            before = torch.get_rng_state()
            expected = plain(self.tokens)
            assert torch.equal(torch.get_rng_state(), before), "what drops nothing takes nothing from the generator"
            assert not torch.equal(dropping(self.tokens), expected)
            after = torch.get_rng_state()
            assert not torch.equal(after, before)
            assert torch.equal(dropping.eval()(self.tokens), expected)
            assert torch.equal(torch.get_rng_state(), after)

    @pytest.mark.parametrize(("architecture", "norm"), VARIANTS)
    def test_it_follows_the_generator(self, architecture, norm):
        model = small(architecture, norm, dropout=0.3)

        def drawn(seed: int) -> Tensor:
            torch.manual_seed(seed)
            return model(self.tokens)

        assert torch.equal(drawn(1), drawn(1))
        assert not torch.equal(drawn(1), drawn(2))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_rate_and_scale_in_attention(self, dtype):
        """With values of one a row of attention sums to one; with dropout to one on average, missing whole weights."""
        heads = torch.zeros(3, 1, 2, 400, 8, dtype=dtype)
        query, key, value = heads[0], heads[1], heads[2] + 1
        rows = _attend(query, key, value, 0.0)
        torch.testing.assert_close(rows, torch.ones_like(rows), atol=2e-2, rtol=0)
        torch.manual_seed(0)
        first = _attend(query, key, value, 0.25)[:, :, 0, 0]
        assert all(weight in (0.0, pytest.approx(1 / 0.75, rel=1e-2)) for weight in first.flatten().tolist())
        dropped = _attend(query, key, value, 0.25)[..., 200:, 0].float()
        assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
        # a row of n weights 1/n, each kept with 3/4 and scaled: variance (1/3)/n
        assert dropped.var().item() == pytest.approx(1 / 3 / 300, rel=0.3)

    def test_places_in_a_gpt(self):
        """The embeddings' sum, attention's weights, and what each half of a block adds."""
        places = dropout_places(small("gpt", layers=2, dropout=0.5), self.tokens)
        assert places == [(64, 8, 16)] + 2 * [(64, 8, 16), (64, 8, 16)]
        assert small("gpt", dropout=0.5).blocks[0].attention.dropout == 0.5

    def test_places_in_an_lstm(self):
        """Inputs and outputs here, between layers PyTorch's own."""
        model = small("lstm", layers=3, dropout=0.5)
        assert dropout_places(model, self.tokens) == [(64, 8, 16), (64, 8, 12)]
        assert model.lstm.dropout == 0.5
        assert small("lstm", layers=1, dropout=0.5).lstm.dropout == 0.0


def dropout_places(model: nn.Module, tokens: Tensor) -> list[tuple[int, ...]]:
    """The shapes that pass through dropout layers, each checked for its rate and its scale."""
    found = []

    def check(layer: nn.Dropout, arguments: tuple[Tensor], output: Tensor) -> None:
        kept = output != 0
        assert kept[arguments[0] != 0].double().mean().item() == pytest.approx(1 - layer.p, abs=0.05)
        torch.testing.assert_close(output[kept], arguments[0][kept] / (1 - layer.p))
        found.append(tuple(output.shape))

    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.register_forward_hook(check)
    torch.manual_seed(7)
    model(tokens)
    return found


class TestDecoding:
    @pytest.mark.parametrize(("architecture", "norm"), VARIANTS)
    @pytest.mark.parametrize("lengths", [[8], [1] * 8, [3, 1, 1, 3], [5, 2, 1]])
    @torch.inference_mode()
    def test_reading_on_gives_the_features_of_reading_at_once(self, architecture, norm, lengths):
        model = small(architecture, norm).eval()
        grow(model)
        tokens = torch.randint(20, (3, 8), generator=torch.Generator().manual_seed(8))
        whole, state, read = model(tokens), None, 0
        for length in lengths:
            features, state = model.decode(tokens[:, read : read + length], state)
            read += length
            torch.testing.assert_close(features, whole[:, read - 1], **TOLERANCE)

    @torch.inference_mode()
    def test_an_lstm_goes_on_beyond_its_context(self):
        model, state = small("lstm").eval(), None
        tokens = torch.randint(20, (1, 30), generator=torch.Generator().manual_seed(9))
        whole = model(tokens)
        for t in range(30):
            features, state = model.decode(tokens[:, t : t + 1], state)
            torch.testing.assert_close(features, whole[:, t], **TOLERANCE)

    @pytest.mark.parametrize("norm", ["post", "pre"])
    @pytest.mark.parametrize("context", [1, 2, 7, 8])
    @torch.inference_mode()
    def test_a_gpts_full_window_starts_anew_with_its_last_half(self, norm, context):
        model, state = small("gpt", norm, context=context).eval(), None
        grow(model)
        tokens = torch.randint(20, (1, 30), generator=torch.Generator().manual_seed(9))
        start = 0
        for t in range(30):
            features, state = model.decode(tokens[:, t : t + 1], state)
            if t + 1 - start > context:
                start = t + 1 - (context + 1) // 2
            torch.testing.assert_close(features, model(tokens[:, start : t + 1])[:, -1], **TOLERANCE)
        assert state.past[0].read <= context

    @torch.inference_mode()
    def test_a_prompt_longer_than_the_context_leaves_its_end(self):
        model = small("gpt").eval()
        tokens = torch.randint(20, (1, 30), generator=torch.Generator().manual_seed(9))
        features, _ = model.decode(tokens)
        torch.testing.assert_close(features, model(tokens[:, -8:])[:, -1], **TOLERANCE)


def test_every_entry_has_what_it_must():
    for name, architecture in ARCHITECTURES.items():
        module = entry(name)
        assert all(callable(getattr(module, each)) for each in ("build", "operations", "activation_bytes"))
        config = ModelConfig(architecture=name, layers=1, context=4, width=8, **dict.fromkeys(architecture.sizes, 8))
        assert isinstance(build_model(config, 11), LanguageModel)
    with pytest.raises(KeyError):
        entry("gru")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="asks what autocast does on a GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_on_a_gpu_the_recurrence_is_in_fp32_and_the_head_in_the_configured_type(dtype):
    model = small("lstm").cuda()
    types = []
    model.lstm.register_forward_hook(lambda _module, _arguments, output: types.append(output[0].dtype))
    tokens = torch.randint(20, (2, 8), device="cuda")
    with torch.autocast("cuda", dtype):
        features = model(tokens)
    assert (types, features.dtype) == ([torch.float32], dtype)
    features.float().sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.lstm.parameters())
