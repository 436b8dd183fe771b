"""Pretraining: a small model and its compressor learn to read."""
