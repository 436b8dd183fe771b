"""The store: corpora of documents, their soft prompts, passages and adapters, on disk and safe against a crash."""
