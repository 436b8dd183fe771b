"""Benches: what full context costs beside soft prompts, measured side by side and against the machine's limits."""
