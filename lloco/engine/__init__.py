"""Engines: what turns prompts into answers."""
