"""Hugging Face causal language models as decoders: loading, identity, LoRA adapters."""
