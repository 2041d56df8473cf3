"""Watching teachers answer: a live view on a terminal, a plain line now and then elsewhere, a summary at the end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from distiller_udf.budget import Cost
from distiller_udf.cli.console import err, say, tell
from distiller_udf.labels import CostEstimate, Progress

LINE_SECONDS = 10.0
"""How often a line is written where there is no terminal."""


@dataclass
class Watch:
    """Where a run stands with each teacher. It is told in one thread and shown by another."""

    stands: dict[str, Progress] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, progress: Progress, /) -> None:
        with self.lock:
            self.began.setdefault(progress.teacher, time.monotonic())
            self.stands[progress.teacher] = progress

    def all(self) -> list[Progress]:
        """Where it stands with every teacher that has been turned to, in that order."""
        with self.lock:
            return list(self.stands.values())

    @property
    def stopped(self) -> str | None:
        """Why the run ended early without an error; None where it did not."""
        return next((stand.stopped for stand in self.all() if stand.stopped), None)

    @property
    def failed(self) -> int:
        """How many questions have stayed without a reply."""
        return sum(stand.failed for stand in self.all())

    def pace(self, stand: Progress) -> str:
        """Answers a second, and the time that is left at this pace; nothing before the first answer."""
        seconds = time.monotonic() - self.began[stand.teacher]
        rate = (stand.answered + stand.failed) / seconds if seconds > 0 else 0.0
        if rate <= 0:
            return ""
        left = f", {duration(stand.to_come / rate)} left" if stand.to_come else ""
        return f", {rate:.1f} a second{left}"

    def __rich__(self) -> Group:
        """The live view: a bar and a line of figures for each teacher."""
        return Group(*(part for stand in self.all() for part in (self._bar(stand), _figures(stand))))

    def _bar(self, stand: Progress) -> Table:
        done = stand.total - stand.to_come
        bar = ProgressBar(total=max(1, stand.total), completed=done if stand.total else 1, width=20)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(Text(stand.teacher, style="bold"), bar, Text(f"{done:,} of {stand.total:,}{self.pace(stand)}"))
        return grid


def _figures(stand: Progress) -> Text:
    unknown = f" + {stand.cost_unknown:,} of unknown price" if stand.cost_unknown else ""
    counts = f"{stand.answered:,} answered, {stand.cached:,} cached, {stand.abstained:,} abstained"
    spent = f"{stand.failed:,} failed, {stand.tokens:,} tokens, ${stand.cost_usd:.4f}{unknown}"
    return Text(f"  {counts}, {spent}", style="dim")


@contextmanager
def watching(seconds: float | None = None) -> Iterator[Watch]:
    """Show a run while the block lasts: what it yields is to be told the progress."""
    watch = Watch()
    with _warnings_shown(watch):
        if err.is_terminal:
            with Live(watch, console=err, refresh_per_second=4, transient=True):
                yield watch
            return
        ended = threading.Event()
        lines = threading.Thread(target=_write_lines, args=(watch, ended, seconds or LINE_SECONDS), daemon=True)
        lines.start()
        try:
            yield watch
        finally:
            ended.set()
            lines.join()


def _write_lines(watch: Watch, ended: threading.Event, seconds: float) -> None:
    while not ended.wait(seconds):
        for stand in watch.all()[-1:]:
            say(f"{stand}{watch.pace(stand)}")


class _Warnings(logging.Handler):
    """Warnings of the package above the live view; a stop is said once, at the end."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.WARNING)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        stopped = self._watch.stopped
        if stopped is None or stopped not in message:
            say(message)


@contextmanager
def _warnings_shown(watch: Watch) -> Iterator[None]:
    logger, handler = logging.getLogger("distiller_udf"), _Warnings(watch)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def print_estimates(estimates: Sequence[CostEstimate]) -> None:
    """What a run will ask, a line a teacher, and a line for all where there are several."""
    for part in estimates:
        tell(str(part))
    if len(estimates) > 1:
        asked = sum(part.asked for part in estimates)
        tell(f"in all: {asked:,} to ask, {sum((part.cost for part in estimates), Cost()).price}")


def duration(seconds: float) -> str:
    """Seconds as minutes and hours: 0:07, 12:30, 3:05:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
