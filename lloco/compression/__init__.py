"""From documents to soft prompts in a corpus: plan, run, refine, many workers, on demand."""
