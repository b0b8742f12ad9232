"""Python's search for cycles, paused while many records are made that hold none."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Make objects without the collector, as a decorator or in a `with`."""
    # JSON data, records and instances hold no cycles. Looking for some after every 700 new objects
    # takes more than half of the time of json.loads, and nearly half of that of labelling.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
