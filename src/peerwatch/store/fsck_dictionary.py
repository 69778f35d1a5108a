"""DictionaryCheck: what is damaged in the dictionary, and what blocks still know of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from peerwatch.errors import CorruptionError, StoreError
from peerwatch.store.damage import Damage
from peerwatch.store.dictionary_log import (
    FILE_NAME,
    MAGIC,
    AnyRecord,
    DictionaryLog,
    LayoutRecord,
    NextRecord,
    SeriesRecord,
    decode_copies,
    decode_dictionary_record,
)
from peerwatch.store.disk import Disk
from peerwatch.store.record import FORMAT_VERSION, decode_file_header, scan
from peerwatch.telemetry import CollectorRegistry, Counter


class DictionaryCheck:
    """Reads the file and the names in blocks (path, highest series id, chunks); `rewrite` puts both together."""

    def __init__(self, disk: Disk, folder: Path, names: Iterable[tuple[Path, int, list[bytes]]]) -> None:
        self._disk = disk
        self._folder = folder
        self.findings: list[str] = []
        self._records: list[AnyRecord] = []
        self._ids: set[int] = set()
        self._next = NextRecord(1, 1)
        self._restored = 0
        self._read()
        named = list(names)
        if not self._records and not named:
            return
        self._restore(named)

    @property
    def series(self) -> int:
        """Series that have a name."""
        return len(self._ids)

    @property
    def action(self) -> str:
        """What `rewrite` does."""
        return f"written anew with {len(self._ids)} series, {self._restored} of them from blocks"

    def rewrite(self) -> None:
        """Write the file anew. Raises StoreError."""
        counter = Counter("peerwatch_store_fsck", "Not exported.", registry=CollectorRegistry())
        log = DictionaryLog(self._disk, self._folder, Damage(counter))
        log.rewrite([self._next, *self._records])
        log.close()

    def _read(self) -> None:
        path = self._folder / FILE_NAME
        if FILE_NAME not in self._disk.names(self._folder):
            return
        data = self._disk.read(path)
        header = decode_file_header(data, MAGIC)
        if header is None:
            self.findings.append("both headers are damaged, nothing in it can be read")
            return
        if header[0] > FORMAT_VERSION:
            raise StoreError(f"{path} has format {header[0]}, this peerwatch reads up to {FORMAT_VERSION}")
        found = scan(data, header[1])
        self.findings += [f"bytes {start} to {end} are no record" for start, end in found.gaps]
        try:
            for record in decode_copies(found.records):
                self._take(record)
        except CorruptionError as error:
            self.findings.append(str(error))

    def _take(self, record: AnyRecord) -> None:
        if isinstance(record, SeriesRecord):
            ids = {series_id for series_id, _, _ in record.rows()}
            self._ids |= ids
            self._raise_next(max(ids, default=0) + 1, 1)
        elif isinstance(record, LayoutRecord):
            self._raise_next(1, record.id + 1)
        else:
            self._raise_next(record.series, record.layout)
            return
        self._records.append(record)

    def _raise_next(self, series: int, layout: int) -> None:
        self._next = NextRecord(max(self._next.series, series), max(self._next.layout, layout))

    def _restore(self, named: Iterable[tuple[Path, int, list[bytes]]]) -> None:
        for _, top_series, chunks in named:
            self._raise_next(top_series + 1, 1)
            for chunk in chunks:
                record = decode_dictionary_record(chunk)
                if isinstance(record, SeriesRecord):
                    self._restore_series(record)
        if self._restored:
            self.findings.append(f"{self._restored} series of blocks are missing")

    def _restore_series(self, record: SeriesRecord) -> None:
        missing = [row for row in record.rows() if row[0] not in self._ids]
        if missing:
            ids, labels, keys = zip(*missing, strict=True)
            self._records.append(SeriesRecord.of(0, labels, keys, {}, ids))
            self._ids.update(ids)
            self._restored += len(ids)
