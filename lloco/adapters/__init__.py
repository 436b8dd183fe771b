"""LoRA adapters: their folders, their checks, and how a model carries them."""
