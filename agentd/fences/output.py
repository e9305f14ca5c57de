"""What a scanner is about to give out, put in shape: text joined, the blank space of a group dropped, a guess cut."""

from __future__ import annotations

from agentd.fences.pieces import Block, Code, Cut, Piece, Refused, Text


class Output:
    """Collects pieces until they are taken.

    `cut` when text has been shown after a group of actions: nothing may follow.
    """

    def __init__(self) -> None:
        self.cut = False
        self.kind: type[Text] | type[Code] = Text  # of what streams: visible text or an action's body
        self._group_end: int | None = None
        self._pieces: list[Piece] = []
        self._run: list[str] = []

    @property
    def in_group(self) -> bool:
        """True after an action: what comes is another one, blank space, or a guess."""
        return self._group_end is not None

    def take(self) -> list[Piece]:
        """Hand over what has been collected."""
        self._flush()
        pieces, self._pieces = self._pieces, []
        return pieces

    def show(self, text: str) -> None:
        """Give out visible text; after an action it cuts, unless it is blank."""
        if self._group_end is None:
            self._put(text, Text)
        elif text and not text.isspace():
            self.cut = True
            self.add(Cut(self._group_end))

    def code(self, text: str) -> None:
        """Give out a piece of the open action's body."""
        self._put(text, Code)

    def add(self, piece: Piece) -> None:
        """Give out what is neither text nor code."""
        self._flush()
        self._pieces.append(piece)

    def end_action(self, piece: Block | Refused) -> None:
        """Give out an action that is complete."""
        self.add(piece)
        self._group_end = piece.end

    def extend_group(self, end: int) -> None:
        """Count markup after the last action, such as the end of a wrapper, to its group."""
        self._group_end = end

    def _put(self, text: str, kind: type[Text] | type[Code]) -> None:
        if self.kind is not kind:
            self._flush()
            self.kind = kind
        if text:
            self._run.append(text)

    def _flush(self) -> None:
        if self._run:
            self._pieces.append(self.kind("".join(self._run)))
            self._run = []
