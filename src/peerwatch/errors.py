"""Every error that peerwatch raises on purpose. The type tells whose fault it is; our own bugs stay plain exceptions.

::

    PeerwatchError
    ├── ConfigError          the operator's: a setting, a flag, a file that is not what it must be
    ├── PeerError            the other side's: bytes, signatures, limits; never retried unchanged
    │   ├── DecodeError      the bytes are not what the format says
    │   ├── SignatureError   the signature, the signer or the fleet is not the expected one
    │   ├── QuotaError       more than the limit allows; carries how long to wait, where waiting helps
    │   └── DeniedError      (node.connection) who it is, or where it is, is not let in and not dialled
    ├── LinkError            the way to the other side: refused, reset, too slow; retried
    ├── StoreError           the disk's: full, read-only, damaged
    │   ├── DiskFullError    no room, or the low-disk guard is closed; retried
    │   └── CorruptionError  bytes on disk fail their checksum; names file and offset
    ├── NoDataError          (agent.source) this machine has nothing for a source to read; no fault
    └── QueryError           the query's
        ├── ParseError       carries the position
        ├── LimitError       more samples, points, time or depth than allowed
        └── CancelledQueryError  the client went away
"""


class PeerwatchError(Exception):
    """Root of the tree: catch this to answer anything that is not a bug of ours."""


class ConfigError(PeerwatchError):
    """A setting is wrong. The message holds its path, its value and what is allowed."""


class PeerError(PeerwatchError):
    """A peer sent something that must not be accepted."""


class DecodeError(PeerError):
    """Bytes do not follow their format."""


class SignatureError(PeerError):
    """A signature does not verify, or the signer has no right to sign this."""


class QuotaError(PeerError):
    """A limit was passed. `wait_s` is how long to wait before trying again; None means waiting does not help."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class LinkError(PeerwatchError):
    """The other side could not be reached or did not answer in time. Always worth another try."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class NodeDownError(LinkError):
    """This machine's own node is not up, which says nothing of the other side."""


class StoreError(PeerwatchError):
    """Reading from or writing to disk failed."""


class DiskFullError(StoreError):
    """Nothing more can be written until space is free again."""


class CorruptionError(StoreError):
    """Bytes on disk do not match their checksum."""


class QueryError(PeerwatchError):
    """A query could not be answered."""


class ParseError(QueryError):
    """The text is not PromQL. `start` and `end` are character positions in the query."""

    def __init__(self, message: str, start: int = 0, end: int = 0) -> None:
        super().__init__(message)
        self.start = start
        self.end = end


class LimitError(QueryError):
    """The query asked for more than a limit allows."""


class CancelledQueryError(QueryError):
    """Whoever asked is gone."""


def error_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group that holds only errors of ours; the group itself when a bug is among them."""
    if group.split(PeerwatchError)[1] is not None:
        return group
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
