"""The encoder of the `dynamic_pooling` design, for pretrained decoders: tokens that say much share a vector with fewer.

A window is cut into groups that hold about as much information each, not as many tokens (dynamic token pooling, ACL
2023, arXiv 2211.09761, whose boundaries from entropy it takes). How much a token says is how rare it is, read off its
embedding; a digit is common and still is one of a number that is lost if its digits are mixed, so that it counts as a
rare word. A group's vector begins as the sum of its tokens' embeddings, weighted by their information: a pretrained
decoder can already read it in part. Maps of a token's place in its group, the weights, and a network over the
encoder's states are learned from there. The encoder has the decoder's first layers, with weights of its own or with
LoRA. Does not know about documents or windows.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lloco.compressors.local_encoder import layer_states

NUM_PLACES = 4
"""Places in a group with a map of their own; tokens behind them share the last."""
MIN_INFORMATION = 1.0
"""Nats that a token has at least: none is dropped."""
DIGIT_INFORMATION, DIGIT_SHARE = 9.0, 0.02
"""Nats of a digit, and how much its fit counts at least: the ten of them are few among all tokens."""


class DynamicPoolingEncoder(nn.Module):
    """Layers over a window, then a vector for each group of tokens, at any ratio."""

    design = "dynamic_pooling"
    summary_length = 1

    def __init__(self, body: PreTrainedModel, *, hidden_size: int, embed_scale: float) -> None:
        super().__init__()
        width = int(body.config.hidden_size)
        self.body = body
        self.hidden_size = hidden_size
        self.scale = nn.Buffer(torch.tensor(embed_scale))
        # Information is a linear function of a token's embedding, fitted once and never learned.
        self.information = nn.Buffer(torch.cat([torch.zeros(width), torch.ones(1)]))
        self.gate = nn.Linear(2 * width, 1, bias=False)
        self.places = nn.Linear(NUM_PLACES * width, width, bias=False)
        self.widen = nn.Linear(3 * width, hidden_size)
        self.narrow = nn.Linear(hidden_size, width)
        with torch.no_grad():
            self.gate.weight.zero_()
            self.places.weight.copy_(torch.eye(width).repeat(1, NUM_PLACES))
            self.narrow.weight.zero_()
            self.narrow.bias.zero_()

    def can_make(self, segment_len: int) -> bool:
        """Return whether segments of this many tokens become a vector."""
        return segment_len >= 2

    def weights_a_vector(self, segment_len: int) -> int:
        """Return how many weights are multiplied for a vector, behind the layers."""
        return sum(layer.weight.numel() for layer in (self.places, self.widen, self.narrow))

    @torch.no_grad()
    def fit_information(self, embeddings: Tensor, counts: Tensor, digits: Tensor) -> None:
        """Fit the tokens' information, -log of their frequency, to their embeddings by weighted least squares.

        Args:
            embeddings: (vocab_size, hidden_size) of the decoder.
            counts: (vocab_size,) how often each token stands in a text.
            digits: ids of the tokens that are one digit.
        """
        counts = counts.double() + 0.5
        wanted, shares = (counts.sum() / counts).log(), counts / counts.sum()
        wanted[digits] = wanted[digits].clamp_min(DIGIT_INFORMATION)
        shares[digits] = shares[digits].clamp_min(DIGIT_SHARE)
        features = _features(embeddings)
        weighted = features * shares[:, None]
        ridge = 1e-3 * torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
        self.information.copy_(torch.linalg.solve(weighted.T @ features + ridge, weighted.T @ wanted))

    def information_of(self, tokens: Tensor) -> Tensor:
        """Return the information (batch, seq_len) of embeddings (batch, seq_len, hidden_size), float64, in nats."""
        return (_features(tokens) @ self.information.double()).clamp_min(MIN_INFORMATION)

    def forward(self, tokens: Tensor, lengths: Tensor, segment_len: int) -> Tensor:
        """Return the vectors of one window a row.

        Args:
            tokens: (batch, seq_len, hidden_size) embeddings, padded on the right with anything.
            lengths: (batch,) number of real tokens in each row.
            segment_len: tokens that become a vector, on average.

        Returns:
            (batch, num_vectors, hidden_size); of a shorter row the first ceil(length / segment_len) are meant.
        """
        is_token = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        information = torch.where(is_token, self.information_of(tokens), 0.0)
        starts = group_starts(information, lengths, segment_len)
        # Causal layers never look at padding, which stands on the right.
        states = layer_states(self.body, tokens, None)
        seen = torch.cat([_normed(tokens), _normed(states)], dim=-1)
        weights = information.to(tokens.dtype).square() * self.gate(seen)[:, :, 0].to(tokens.dtype).exp()
        embedded, mean_states = _pooled(tokens, states, weights, starts)
        vectors = self.places(embedded)
        ends = torch.cat([starts[:, 1:], lengths[:, None]], dim=1).minimum(lengths[:, None]) - 1
        last_states = states.gather(1, ends[:, :, None].expand(-1, -1, states.shape[2]))
        context = torch.cat([_normed(part) for part in (vectors, mean_states, last_states)], dim=-1)
        corrected: Tensor = vectors + self.narrow(nn.functional.gelu(self.widen(context))) * self.scale
        return corrected


def group_starts(information: Tensor, lengths: Tensor, segment_len: int) -> Tensor:
    """Return where each group begins, so that groups hold about as much information and at least a token each.

    Args:
        information: (batch, seq_len), 0 where there is padding.
        lengths: (batch,) number of real tokens in each row.
        segment_len: tokens of a group, on average.

    Returns:
        (batch, num_groups) of the longest row; groups that a shorter row does not have begin at its end.
    """
    order = torch.arange(-(-information.shape[1] // segment_len), device=lengths.device)
    num_groups = -(-lengths // segment_len)[:, None]
    middles = information.cumsum(dim=1) - information / 2
    shares = order * (information.sum(dim=1) / num_groups[:, 0])[:, None]
    starts = torch.searchsorted(middles.contiguous(), shares.contiguous())
    starts = (starts - order).cummax(dim=1).values.clamp_min(0) + order
    latest = lengths[:, None] - num_groups + order
    return torch.where(order < num_groups, starts.minimum(latest), lengths[:, None]) * (order > 0)


def _pooled(tokens: Tensor, states: Tensor, weights: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Return each group's embeddings, summed by place (batch, num_groups, NUM_PLACES * width), and its mean state."""
    num_rows, num_tokens, width = tokens.shape
    num_groups = starts.shape[1]
    order = torch.arange(num_tokens, device=tokens.device).expand(num_rows, -1).contiguous()
    group = torch.searchsorted(starts, order, right=True) - 1
    position = (order - starts.gather(1, group)).clamp_max(NUM_PLACES - 1)
    rows = torch.arange(num_rows, device=tokens.device)[:, None] * num_groups
    of_group = (rows + group).flatten()
    of_position = of_group * NUM_PLACES + position.flatten()

    def summed(values: Tensor, index: Tensor, size: int) -> Tensor:
        flat = values.reshape(num_rows * num_tokens, -1)
        return flat.new_zeros(size, flat.shape[1]).index_add(0, index, flat)

    size = num_rows * num_groups
    # Groups that a shorter row does not have are empty; the root's slope at 0 would be infinite.
    lengths = summed(weights.square(), of_group, size).clamp_min(1e-6).sqrt()
    embedded = summed(tokens * weights[:, :, None], of_position, size * NUM_PLACES).view(size, -1) / lengths
    means = summed(states * weights[:, :, None], of_group, size) / summed(weights, of_group, size).clamp_min(1e-6)
    return embedded.view(num_rows, num_groups, -1), means.view(num_rows, num_groups, width)


def _features(embeddings: Tensor) -> Tensor:
    """Return embeddings (..., width) of one length, and a 1; in float64, where a token is the same in every batch."""
    normed = nn.functional.rms_norm(embeddings.detach().double(), embeddings.shape[-1:], eps=1e-9)
    return torch.cat([normed, torch.ones_like(normed[..., :1])], dim=-1)


def _normed(values: Tensor) -> Tensor:
    normed: Tensor = nn.functional.rms_norm(values.float(), values.shape[-1:], eps=1e-6).to(values.dtype)
    return normed
