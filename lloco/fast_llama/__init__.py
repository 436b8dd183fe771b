"""A faster forward pass of plain Llama models on a CPU."""
