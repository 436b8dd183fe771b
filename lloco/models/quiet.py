"""Keep transformers quiet while it loads or saves; what matters in its reports is raised elsewhere."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub.utils import (  # type: ignore[attr-defined]
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from transformers.utils import logging as transformers_logging


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' bars and reports off standard error inside the block; what matters in them is raised."""
    verbosity = transformers_logging.get_verbosity()
    has_bars, has_hub_bars = transformers_logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    transformers_logging.set_verbosity(logging.ERROR)
    _show_bars(False, has_hub_bars)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        _show_bars(has_bars, has_hub_bars)


def _show_bars(is_on: bool, is_on_in_hub: bool) -> None:
    """Switch transformers' bars, which switches the hub's too, and leave those as they are to be."""
    with warnings.catch_warnings():
        # The hub says that a variable of the environment decides, which is then as it should be.
        warnings.filterwarnings("ignore", message="Cannot (en|dis)able progress bars", category=UserWarning)
        switch: Any = transformers_logging.enable_progress_bar if is_on else transformers_logging.disable_progress_bar
        switch()
        (enable_progress_bars if is_on_in_hub else disable_progress_bars)()
