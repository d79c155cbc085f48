"""Pieces: how many rows one transaction handles, so that also a slow database finishes it in time."""


class PieceSize:
    """A number of rows: half as many after a miss, twice as many after a quick success.

    Args:
        largest: to begin with, and at most.
        deadline: seconds that one transaction may take.
    """

    def __init__(self, largest: int, deadline: float) -> None:
        self._largest = largest
        self._deadline = deadline
        self.rows = largest

    def missed(self, rows: int) -> bool:
        """Note that a transaction with so many rows did not end in time; return whether fewer rows are possible."""
        self.rows = max(1, rows // 2)
        return rows > 1

    def succeeded(self, seconds: float) -> None:
        """Note how long a transaction took; twice as many rows must not be near the deadline."""
        if seconds < self._deadline / 4:
            self.rows = min(self._largest, self.rows * 2)
