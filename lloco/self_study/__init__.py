"""Self-study: questions with answers made from unlabelled documents, checked, and counted where thrown away."""
