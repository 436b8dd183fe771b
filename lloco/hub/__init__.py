"""Compressors, adapters and corpora as folders that travel: to a folder or to the Hugging Face Hub, and back."""
