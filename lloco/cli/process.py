"""Which of the processes this is that share one run, as their launcher says in the environment."""

import os


def process_rank() -> str:
    """Return the number of this process, "0" where it is the only one, whoever else set RANK."""
    return os.environ.get("RANK", "0") if is_one_of_several() else "0"


def is_one_of_several() -> bool:
    """Return whether more processes than this one share the run."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1")
