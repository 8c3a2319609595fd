"""What request bodies begin with, learned from the first of them: column names mostly. Called by `recorder`.

Left out of the journal, it takes a third or so of the bytes, and with them of the time, of an answer's record.
"""

from __future__ import annotations

SAMPLES = 32
SHORTEST, LONGEST = 64, 65_536  # bytes; shorter is not worth it
OPENINGS = (b"[", b"{", b":")  # what a value stands behind


class Beginning:
    """Learns until it knows. text: the beginning, or empty; learning: whether more bodies are wanted."""

    def __init__(self) -> None:
        self.text = b""
        self.learning = True
        self._common = b""
        self._seen = 0

    def learn(self, body: bytes) -> bool:
        """Look at one body; True where the beginning is known now. It ends before the first value: values differ.

        >>> beginning = Beginning()
        >>> body = b'{"columns": [' + b'"a column",' * 9 + b'], "data": [[%d]]}'
        >>> any(beginning.learn(body % number) for number in range(SAMPLES))
        True
        >>> beginning.text.endswith(b'"data": [[')
        True
        """
        self._seen += 1
        self._common = body[: common_length(self._common, body) if self._seen > 1 else LONGEST]
        if self._seen < SAMPLES and len(self._common) >= SHORTEST:
            return False
        self.learning = False
        end = max(self._common.rfind(opening) for opening in OPENINGS) + 1
        if end >= SHORTEST:
            self.text = self._common[:end]
        return bool(self.text)


def common_length(one: bytes, other: bytes) -> int:
    """How many first bytes both have in common.

    >>> common_length(b"abcd", b"abed"), common_length(b"", b"a"), common_length(b"ab", b"abc")
    (2, 0, 2)
    """
    least, most = 0, min(len(one), len(other))
    while least < most:  # halving, with whole comparisons: those are one memcmp each
        middle = (least + most + 1) // 2
        if one[:middle] == other[:middle]:
            least = middle
        else:
            most = middle - 1
    return least
