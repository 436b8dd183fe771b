"""Corpora over HTTP in the words of the OpenAI API. Nothing is exported here: import from the modules."""
