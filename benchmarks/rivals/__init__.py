"""The other ways to answer from a long document, measured side by side."""
