"""Plugins for a stock vLLM server: adapters from the store by name, documents by id. See docs/vllm.md."""
