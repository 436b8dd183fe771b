"""Files and folders -> documents: one reader for each family of formats, each bounded, each naming what it left out."""

from lloco.documents.document import Document, OnFiles, OnSkip, Skipped, read_documents

__all__ = ["Document", "OnFiles", "OnSkip", "Skipped", "read_documents"]
