"""Scores on published benchmarks: tasks, samples, official metrics and the scorer.

This package knows data files and answers; it does not know models: predictions reach it as text.
"""
