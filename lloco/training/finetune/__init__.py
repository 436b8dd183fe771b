"""Fine-tuning: an adapter learns to answer questions from soft prompts."""
