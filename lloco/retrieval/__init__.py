"""Which passages of which document a question is about: word and dense search, fused; and which corpus."""
