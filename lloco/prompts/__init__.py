"""The only place that lays out what a model reads: soft prompts, templates, prompts, batches."""
