"""The encoder of the local designs: a window of token embeddings in, a vector for each small group of tokens out.

Three ways to make a group's vector, arXiv 2510.20797 and 2504.08934 on why local ones learn well:
`pooling` averages the group's states, every token seeing the whole window; `interleaved` puts a summary token after
each group in a causal row; `bidirectional` puts a segment's summary tokens after it, every position seeing all others.
The encoder has layers of its own, which begin as copies of the decoder's. It does not know about documents or windows.
"""

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

from lloco.compressors.decoder_based import vocab_size
from lloco.errors import CheckpointError
from lloco.fast_llama.forward import forward_for
from lloco.models.decoder import Decoder
from lloco.models.quiet import quiet_transformers

LocalDesign = Literal["pooling", "interleaved", "bidirectional"]


class LocalEncoder(nn.Module):
    """Layers over a window, then a small network from states to the decoder's embeddings."""

    def __init__(self, body: PreTrainedModel, design: LocalDesign, summary_length: int, embed_scale: float):
        super().__init__()
        width = int(body.config.hidden_size)
        self.design = design
        self.summary_length = summary_length
        self.body = body
        num_summaries = {"pooling": 0, "interleaved": 1, "bidirectional": summary_length}[design]
        self.summaries = nn.Parameter(torch.randn(num_summaries, width) * embed_scale) if num_summaries else None
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        self.scale = nn.Parameter(torch.full((width,), embed_scale))

    def can_make(self, segment_len: int) -> bool:
        """Return whether segments of this many tokens become `summary_length` vectors."""
        return segment_len >= self.summary_length

    def weights_a_vector(self, segment_len: int) -> int:
        """Return how many weights are multiplied for a vector, behind the layers."""
        return self.widen.weight.numel() + self.narrow.weight.numel()

    def forward(self, tokens: Tensor, lengths: Tensor, segment_len: int) -> Tensor:
        """Return the vectors of one window a row.

        Args:
            tokens: (batch, seq_len, hidden_size) embeddings, padded on the right with anything.
            lengths: (batch,) number of real tokens in each row.
            segment_len: tokens that become `summary_length` vectors.

        Returns:
            (batch, num_vectors, hidden_size); of a shorter row the first `num_vectors` of its own length are meant.
        """
        groups = group_of_tokens(tokens.shape[1], segment_len, self.summary_length).to(tokens.device)
        if self.design == "pooling":
            is_token = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
            states = _mean_of_groups(layer_states(self.body, tokens, is_token), groups, is_token)
        else:
            states = self._summarise(tokens, groups, lengths, segment_len)
        vectors = self.narrow(nn.functional.gelu(self.widen(states)))
        normed = nn.functional.rms_norm(vectors.float(), vectors.shape[-1:]).to(vectors.dtype)
        return normed * self.scale

    def _summarise(self, tokens: Tensor, groups: Tensor, lengths: Tensor, segment_len: int) -> Tensor:
        """Put a summary token after its group, or after its segment, and return the states of all of them."""
        num_rows, num_tokens, width = tokens.shape
        order = torch.arange(int(groups[-1]) + 1, device=tokens.device)
        places = torch.arange(num_tokens, device=tokens.device)
        if self.design == "interleaved":
            unit_of_token, unit_of_group, kind = groups, order, torch.zeros_like(order)
        else:
            unit_of_token, unit_of_group = places // segment_len, order // self.summary_length
            kind = order % self.summary_length
        assert self.summaries is not None
        first_token = torch.searchsorted(groups, order)
        # What is padding goes to one more place at the end, which is cut off.
        nowhere = num_tokens + len(order)
        end = torch.searchsorted(unit_of_token, unit_of_group, right=True)
        summary_places = (torch.minimum(end, lengths[:, None]) + order).where(first_token < lengths[:, None], nowhere)
        token_places = (places + torch.searchsorted(unit_of_group, unit_of_token)).expand(num_rows, -1)
        token_places = token_places.where(places < lengths[:, None], nowhere)
        index = torch.cat([token_places, summary_places], dim=1)
        summaries = self.summaries.to(tokens.dtype)[kind].expand(num_rows, -1, -1)
        row = tokens.new_zeros(num_rows, nowhere + 1, width).scatter(
            1, index[:, :, None].expand(-1, -1, width), torch.cat([tokens, summaries], dim=1)
        )[:, :nowhere]
        is_read = None  # in a causal row nobody looks at the padding, which comes last
        if self.design == "bidirectional":
            is_read = torch.zeros(num_rows, nowhere + 1, dtype=torch.bool, device=row.device).scatter(1, index, True)
            is_read = is_read[:, :nowhere]
        states = layer_states(self.body, row, is_read)
        return states.gather(1, summary_places.clamp(max=nowhere - 1)[:, :, None].expand(-1, -1, width))


def layer_states(body: PreTrainedModel, row: Tensor, is_read: Tensor | None) -> Tensor:
    """Run the layers, every position seeing all that are read; where none is named, those before it and itself."""
    if not torch.is_grad_enabled() and (forward := forward_for(body)) is not None:
        is_seen = None if is_read is None or bool(is_read.all()) else is_read
        return forward.encode(row, is_seen, is_causal=is_read is None)
    mask = None
    if is_read is not None:
        mask = torch.zeros(is_read.shape, dtype=row.dtype, device=row.device)
        mask = mask.masked_fill(~is_read, torch.finfo(row.dtype).min)[:, None, None, :]
        mask = mask.expand(-1, -1, row.shape[1], -1)
    states: Tensor = body(inputs_embeds=row, attention_mask=mask, use_cache=False).last_hidden_state
    return states


def group_of_tokens(num_tokens: int, segment_len: int, summary_length: int) -> Tensor:
    """Return (num_tokens,) the group of each token: a segment has `summary_length` groups, as even as can be."""
    places = torch.arange(num_tokens)
    return places // segment_len * summary_length + places % segment_len * summary_length // segment_len


def _mean_of_groups(states: Tensor, groups: Tensor, is_token: Tensor) -> Tensor:
    """Average the states (batch, seq_len, width) of each group's real tokens."""
    weights = nn.functional.one_hot(groups).to(states.dtype) * is_token[:, :, None]
    means: Tensor = weights.transpose(1, 2) @ states / weights.sum(dim=1).clamp_min(1)[:, :, None]
    return means


def new_local_encoder(
    decoder: Decoder, design: LocalDesign, *, summary_length: int, num_layers: int | None = None
) -> LocalEncoder:
    """Return an encoder whose layers are copies of the decoder's first ones; what is new in it is drawn at random."""
    return LocalEncoder(copied_body(decoder, num_layers), design, summary_length, embed_scale(decoder))


@torch.no_grad()
def embed_scale(decoder: Decoder) -> float:
    """Return the root mean square of the decoder's embeddings."""
    all_ids = torch.arange(vocab_size(decoder), device=decoder.device)
    squares = [float(decoder.embed(ids).float().square().mean(dim=-1).sum()) for ids in torch.split(all_ids, 4096)]
    return float((sum(squares) / len(all_ids)) ** 0.5)


def copied_body(decoder: Decoder, num_layers: int | None = None) -> PreTrainedModel:
    """Return copies of the decoder's first layers, all when not told how many, without embeddings of tokens."""
    body = encoder_body(decoder, num_layers)
    original: Any = decoder.model.get_decoder()  # type: ignore[no-untyped-call]
    own = {name: value for name, value in original.state_dict().items() if name in body.state_dict()}
    body.load_state_dict(own)
    return body


def encoder_body(decoder: Decoder, num_layers: int | None = None) -> PreTrainedModel:
    """Return untrained layers of the decoder's shape, without embeddings of tokens: as many as it has, or the first."""
    config: Any = copy.deepcopy(decoder.model.config.get_text_config())
    if num_layers is not None and not 1 <= num_layers <= config.num_hidden_layers:
        raise CheckpointError(
            f"an encoder must have 1 to {config.num_hidden_layers} layers, as {decoder.name} has, got {num_layers}"
        )
    config.num_hidden_layers = num_layers or config.num_hidden_layers
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    config.vocab_size, config.pad_token_id = 1, None
    with quiet_transformers():
        body: PreTrainedModel = AutoModel.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    body.set_input_embeddings(nn.Identity())
    return body
