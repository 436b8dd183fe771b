"""Files written so that they survive a crash, and JSON read strictly."""
