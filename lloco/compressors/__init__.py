"""Compressors: documents in, soft prompts out."""
