"""Server-sent events as bytes (WHATWG HTML, section 9.2), and the ids by which a client resumes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

_encoder = msgspec.json.Encoder()


def event(name: str, data: object, event_id: str = "") -> bytes:
    """One event; `data` becomes one line of JSON, so no newline can break the frame."""
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {name}\ndata: ".encode() + _encoder.encode(data) + b"\n\n"


@dataclass(frozen=True, slots=True)
class EventId:
    """`boot` names one life of the hub, `seq` counts in it: an id of an earlier life never passes for one of now."""

    boot: str
    seq: int

    @classmethod
    def parse(cls, text: str) -> EventId | None:
        """The id in a Last-Event-ID; None when it is not one of ours, which means: start afresh."""
        boot, dash, seq = text.rpartition("-")
        if not dash or not seq.isascii() or not seq.isdigit() or len(seq) > 18:
            return None
        return cls(boot, int(seq))

    def __str__(self) -> str:
        return f"{self.boot}-{self.seq}"
