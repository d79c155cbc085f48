"""Progress: how far a long command is, on standard error, so that standard output has the result alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, else a plain line for each step.

    Yields:
        A function to call with how many of `total` are done.
    """
    from rich.console import Console  # here, because a service that serves does not need it
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done: console.print(f"{done} of {total} {what}", highlight=False)
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
