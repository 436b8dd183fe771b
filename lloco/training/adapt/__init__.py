"""A compressor trained around a pretrained decoder whose own weights stay as they are."""
