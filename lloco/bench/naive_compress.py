"""The naive way to compress, which benches compare with: one document at a time, everything that a forward pass makes.

Each segment is read by the whole language model, as scripts around a checkpoint do: logits of all positions are
computed and kept until the document's end, keys and values are cached. The vectors are those of
`AutoCompressor.compress_ids`, but for rounding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lloco.compressors.autocompressor import AutoCompressor
from lloco.compressors.compressor import windows_of


@torch.no_grad()
def compress_naively(compressor: AutoCompressor, documents: Sequence[Tensor]) -> list[Tensor]:
    """Return (num_virtual_tokens, hidden_size) per document of ids (num_tokens,)."""
    vectors = []
    for ids in documents:
        windows = windows_of(len(ids), compressor.max_document_tokens, "windows")
        vectors.append(torch.cat([_compress_window(compressor, ids[start:end]) for start, end in windows]))
    return vectors


def _compress_window(compressor: AutoCompressor, ids: Tensor) -> Tensor:
    decoder = compressor.decoder
    reader: nn.Module = compressor.model.get_decoder()  # type: ignore[no-untyped-call]
    output_layer: nn.Module = compressor.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    summaries = compressor.embed_summary.weight
    soft_prompt, parts, all_logits = summaries[:0], [], []
    for start in range(0, len(ids), compressor.segment_len):
        tokens = decoder.embed(ids[start : start + compressor.segment_len])
        output = reader(inputs_embeds=torch.cat([soft_prompt, tokens, summaries])[None], use_cache=True)
        all_logits.append(output_layer(output.last_hidden_state))
        parts.append(output.last_hidden_state[0, -len(summaries) :])
        soft_prompt = torch.cat([soft_prompt, parts[-1]]) if compressor.accumulate else parts[-1]
    return torch.cat(parts).cpu()
