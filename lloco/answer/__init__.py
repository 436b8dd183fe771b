"""From a question to an answer: find the evidence, fit it to the model, read it, generate."""
