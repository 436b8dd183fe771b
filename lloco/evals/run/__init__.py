"""The folder of an evaluation: its settings, its log and its predictions."""
