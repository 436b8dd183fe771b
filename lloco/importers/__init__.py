"""Weights and vectors that others published, made into what lloco reads."""
