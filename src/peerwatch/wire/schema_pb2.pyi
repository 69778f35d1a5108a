from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Codec(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CODEC_NONE: _ClassVar[Codec]
    CODEC_SNAPPY: _ClassVar[Codec]
    CODEC_GZIP: _ClassVar[Codec]
    CODEC_ZSTD: _ClassVar[Codec]

class RefusalReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSED_UNSPECIFIED: _ClassVar[RefusalReason]
    REFUSED_MALFORMED: _ClassVar[RefusalReason]
    REFUSED_SIGNATURE: _ClassVar[RefusalReason]
    REFUSED_NOT_A_MEMBER: _ClassVar[RefusalReason]
    REFUSED_WRONG_FLEET: _ClassVar[RefusalReason]
    REFUSED_CLONED: _ClassVar[RefusalReason]
    REFUSED_QUOTA: _ClassVar[RefusalReason]
    REFUSED_FUTURE: _ClassVar[RefusalReason]
    REFUSED_TOO_OLD: _ClassVar[RefusalReason]
    REFUSED_STORE: _ClassVar[RefusalReason]
    REFUSED_SERIES_LIMIT: _ClassVar[RefusalReason]

class HubState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HUB_STATE_UNSPECIFIED: _ClassVar[HubState]
    HUB_HERE: _ClassVar[HubState]
    HUB_LEAVING: _ClassVar[HubState]
CODEC_NONE: Codec
CODEC_SNAPPY: Codec
CODEC_GZIP: Codec
CODEC_ZSTD: Codec
REFUSED_UNSPECIFIED: RefusalReason
REFUSED_MALFORMED: RefusalReason
REFUSED_SIGNATURE: RefusalReason
REFUSED_NOT_A_MEMBER: RefusalReason
REFUSED_WRONG_FLEET: RefusalReason
REFUSED_CLONED: RefusalReason
REFUSED_QUOTA: RefusalReason
REFUSED_FUTURE: RefusalReason
REFUSED_TOO_OLD: RefusalReason
REFUSED_STORE: RefusalReason
REFUSED_SERIES_LIMIT: RefusalReason
HUB_STATE_UNSPECIFIED: HubState
HUB_HERE: HubState
HUB_LEAVING: HubState

class SignedMessage(_message.Message):
    __slots__ = ("payload", "signature", "seq_no")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SEQ_NO_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    signature: bytes
    seq_no: int
    def __init__(self, payload: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., seq_no: _Optional[int] = ...) -> None: ...

class Signed(_message.Message):
    __slots__ = ("fleet", "sender", "epoch", "seq_no", "floor_epoch", "floor_seq", "codec", "body_bytes", "body", "run")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_NO_FIELD_NUMBER: _ClassVar[int]
    FLOOR_EPOCH_FIELD_NUMBER: _ClassVar[int]
    FLOOR_SEQ_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    BODY_BYTES_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    fleet: bytes
    sender: bytes
    epoch: int
    seq_no: int
    floor_epoch: int
    floor_seq: int
    codec: Codec
    body_bytes: int
    body: bytes
    run: bytes
    def __init__(self, fleet: _Optional[bytes] = ..., sender: _Optional[bytes] = ..., epoch: _Optional[int] = ..., seq_no: _Optional[int] = ..., floor_epoch: _Optional[int] = ..., floor_seq: _Optional[int] = ..., codec: _Optional[_Union[Codec, str]] = ..., body_bytes: _Optional[int] = ..., body: _Optional[bytes] = ..., run: _Optional[bytes] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("blocks",)
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    blocks: _containers.RepeatedCompositeFieldContainer[BatchBlock]
    def __init__(self, blocks: _Optional[_Iterable[_Union[BatchBlock, _Mapping]]] = ...) -> None: ...

class BatchBlock(_message.Message):
    __slots__ = ("schema_id", "rows", "ticks", "times", "columns", "presence", "job", "target", "baseline_id")
    SCHEMA_ID_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TICKS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    BASELINE_ID_FIELD_NUMBER: _ClassVar[int]
    schema_id: bytes
    rows: int
    ticks: int
    times: bytes
    columns: bytes
    presence: bytes
    job: str
    target: str
    baseline_id: bytes
    def __init__(self, schema_id: _Optional[bytes] = ..., rows: _Optional[int] = ..., ticks: _Optional[int] = ..., times: _Optional[bytes] = ..., columns: _Optional[bytes] = ..., presence: _Optional[bytes] = ..., job: _Optional[str] = ..., target: _Optional[str] = ..., baseline_id: _Optional[bytes] = ...) -> None: ...

class Baseline(_message.Message):
    __slots__ = ("rows", "columns")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    columns: bytes
    def __init__(self, rows: _Optional[int] = ..., columns: _Optional[bytes] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class SeriesDescriptor(_message.Message):
    __slots__ = ("labels", "type", "help", "unit")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[Label]
    type: int
    help: str
    unit: str
    def __init__(self, labels: _Optional[_Iterable[_Union[Label, _Mapping]]] = ..., type: _Optional[int] = ..., help: _Optional[str] = ..., unit: _Optional[str] = ...) -> None: ...

class Schema(_message.Message):
    __slots__ = ("series",)
    SERIES_FIELD_NUMBER: _ClassVar[int]
    series: _containers.RepeatedCompositeFieldContainer[SeriesDescriptor]
    def __init__(self, series: _Optional[_Iterable[_Union[SeriesDescriptor, _Mapping]]] = ...) -> None: ...

class SchemaDelta(_message.Message):
    __slots__ = ("base", "removed", "added_at", "added")
    BASE_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    ADDED_AT_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    base: bytes
    removed: _containers.RepeatedScalarFieldContainer[int]
    added_at: _containers.RepeatedScalarFieldContainer[int]
    added: _containers.RepeatedCompositeFieldContainer[SeriesDescriptor]
    def __init__(self, base: _Optional[bytes] = ..., removed: _Optional[_Iterable[int]] = ..., added_at: _Optional[_Iterable[int]] = ..., added: _Optional[_Iterable[_Union[SeriesDescriptor, _Mapping]]] = ...) -> None: ...

class SchemaRecord(_message.Message):
    __slots__ = ("id", "whole", "delta", "baseline")
    ID_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    whole: Schema
    delta: SchemaDelta
    baseline: Baseline
    def __init__(self, id: _Optional[bytes] = ..., whole: _Optional[_Union[Schema, _Mapping]] = ..., delta: _Optional[_Union[SchemaDelta, _Mapping]] = ..., baseline: _Optional[_Union[Baseline, _Mapping]] = ...) -> None: ...

class RunRoot(_message.Message):
    __slots__ = ("fleet", "sender", "epoch", "first_seq", "last_seq", "root", "before_epoch", "before_seq", "dropped")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    BEFORE_SEQ_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    fleet: bytes
    sender: bytes
    epoch: int
    first_seq: int
    last_seq: int
    root: bytes
    before_epoch: int
    before_seq: int
    dropped: _containers.RepeatedCompositeFieldContainer[Dropped]
    def __init__(self, fleet: _Optional[bytes] = ..., sender: _Optional[bytes] = ..., epoch: _Optional[int] = ..., first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ..., root: _Optional[bytes] = ..., before_epoch: _Optional[int] = ..., before_seq: _Optional[int] = ..., dropped: _Optional[_Iterable[_Union[Dropped, _Mapping]]] = ...) -> None: ...

class Dropped(_message.Message):
    __slots__ = ("epoch", "first_seq", "last_seq", "receivers")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    RECEIVERS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    first_seq: int
    last_seq: int
    receivers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, epoch: _Optional[int] = ..., first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ..., receivers: _Optional[_Iterable[str]] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("signed", "leaves")
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    signed: bytes
    leaves: bytes
    def __init__(self, signed: _Optional[bytes] = ..., leaves: _Optional[bytes] = ...) -> None: ...

class PushRequest(_message.Message):
    __slots__ = ("envelopes", "schemas", "schema_codec")
    ENVELOPES_FIELD_NUMBER: _ClassVar[int]
    SCHEMAS_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_CODEC_FIELD_NUMBER: _ClassVar[int]
    envelopes: _containers.RepeatedScalarFieldContainer[bytes]
    schemas: _containers.RepeatedScalarFieldContainer[bytes]
    schema_codec: Codec
    def __init__(self, envelopes: _Optional[_Iterable[bytes]] = ..., schemas: _Optional[_Iterable[bytes]] = ..., schema_codec: _Optional[_Union[Codec, str]] = ...) -> None: ...

class SeqRun(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("epoch", "runs", "roster_version", "path", "index", "signature")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    ROSTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    runs: _containers.RepeatedCompositeFieldContainer[SeqRun]
    roster_version: int
    path: _containers.RepeatedScalarFieldContainer[bytes]
    index: int
    signature: bytes
    def __init__(self, epoch: _Optional[int] = ..., runs: _Optional[_Iterable[_Union[SeqRun, _Mapping]]] = ..., roster_version: _Optional[int] = ..., path: _Optional[_Iterable[bytes]] = ..., index: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("epoch", "seq_no", "reason", "message", "wait_ms")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_NO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    seq_no: int
    reason: RefusalReason
    message: str
    wait_ms: int
    def __init__(self, epoch: _Optional[int] = ..., seq_no: _Optional[int] = ..., reason: _Optional[_Union[RefusalReason, str]] = ..., message: _Optional[str] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class PushReply(_message.Message):
    __slots__ = ("acks", "need_schemas", "refusals", "hub_time_ms", "hub")
    ACKS_FIELD_NUMBER: _ClassVar[int]
    NEED_SCHEMAS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    HUB_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    HUB_FIELD_NUMBER: _ClassVar[int]
    acks: _containers.RepeatedCompositeFieldContainer[Ack]
    need_schemas: _containers.RepeatedScalarFieldContainer[bytes]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    hub_time_ms: int
    hub: bytes
    def __init__(self, acks: _Optional[_Iterable[_Union[Ack, _Mapping]]] = ..., need_schemas: _Optional[_Iterable[bytes]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., hub_time_ms: _Optional[int] = ..., hub: _Optional[bytes] = ...) -> None: ...

class HubCertificate(_message.Message):
    __slots__ = ("fleet", "hub", "signing_key", "not_before_ms", "expires_ms", "serial")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    HUB_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    fleet: bytes
    hub: bytes
    signing_key: bytes
    not_before_ms: int
    expires_ms: int
    serial: int
    def __init__(self, fleet: _Optional[bytes] = ..., hub: _Optional[bytes] = ..., signing_key: _Optional[bytes] = ..., not_before_ms: _Optional[int] = ..., expires_ms: _Optional[int] = ..., serial: _Optional[int] = ...) -> None: ...

class RootRotation(_message.Message):
    __slots__ = ("fleet", "old_root", "new_root", "serial")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    OLD_ROOT_FIELD_NUMBER: _ClassVar[int]
    NEW_ROOT_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    fleet: bytes
    old_root: bytes
    new_root: bytes
    serial: int
    def __init__(self, fleet: _Optional[bytes] = ..., old_root: _Optional[bytes] = ..., new_root: _Optional[bytes] = ..., serial: _Optional[int] = ...) -> None: ...

class RosterEntry(_message.Message):
    __slots__ = ("fleet", "member", "signing_key", "name", "roles", "expires_ms", "version", "revoked", "signer", "uses", "invites", "addresses", "tls_pin", "multiaddrs")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    INVITES_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    TLS_PIN_FIELD_NUMBER: _ClassVar[int]
    MULTIADDRS_FIELD_NUMBER: _ClassVar[int]
    fleet: bytes
    member: bytes
    signing_key: bytes
    name: str
    roles: _containers.RepeatedScalarFieldContainer[str]
    expires_ms: int
    version: int
    revoked: bool
    signer: bytes
    uses: int
    invites: _containers.RepeatedScalarFieldContainer[bytes]
    addresses: _containers.RepeatedScalarFieldContainer[str]
    tls_pin: bytes
    multiaddrs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, fleet: _Optional[bytes] = ..., member: _Optional[bytes] = ..., signing_key: _Optional[bytes] = ..., name: _Optional[str] = ..., roles: _Optional[_Iterable[str]] = ..., expires_ms: _Optional[int] = ..., version: _Optional[int] = ..., revoked: bool = ..., signer: _Optional[bytes] = ..., uses: _Optional[int] = ..., invites: _Optional[_Iterable[bytes]] = ..., addresses: _Optional[_Iterable[str]] = ..., tls_pin: _Optional[bytes] = ..., multiaddrs: _Optional[_Iterable[str]] = ...) -> None: ...

class RosterQuestion(_message.Message):
    __slots__ = ("fleet", "hub", "to", "time_ms", "digest", "prints", "entries", "certificates", "rotations")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    HUB_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PRINTS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    ROTATIONS_FIELD_NUMBER: _ClassVar[int]
    fleet: bytes
    hub: bytes
    to: bytes
    time_ms: int
    digest: bytes
    prints: bytes
    entries: _containers.RepeatedScalarFieldContainer[bytes]
    certificates: _containers.RepeatedScalarFieldContainer[bytes]
    rotations: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, fleet: _Optional[bytes] = ..., hub: _Optional[bytes] = ..., to: _Optional[bytes] = ..., time_ms: _Optional[int] = ..., digest: _Optional[bytes] = ..., prints: _Optional[bytes] = ..., entries: _Optional[_Iterable[bytes]] = ..., certificates: _Optional[_Iterable[bytes]] = ..., rotations: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RosterAnswer(_message.Message):
    __slots__ = ("digest", "entries", "lacking", "certificates", "rotations")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    LACKING_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    ROTATIONS_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    entries: _containers.RepeatedScalarFieldContainer[bytes]
    lacking: bytes
    certificates: _containers.RepeatedScalarFieldContainer[bytes]
    rotations: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, digest: _Optional[bytes] = ..., entries: _Optional[_Iterable[bytes]] = ..., lacking: _Optional[bytes] = ..., certificates: _Optional[_Iterable[bytes]] = ..., rotations: _Optional[_Iterable[bytes]] = ...) -> None: ...

class HubNews(_message.Message):
    __slots__ = ("fleet", "hub", "seq", "state", "roster_digest", "bans_digest")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    HUB_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROSTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BANS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    fleet: bytes
    hub: bytes
    seq: int
    state: HubState
    roster_digest: bytes
    bans_digest: bytes
    def __init__(self, fleet: _Optional[bytes] = ..., hub: _Optional[bytes] = ..., seq: _Optional[int] = ..., state: _Optional[_Union[HubState, str]] = ..., roster_digest: _Optional[bytes] = ..., bans_digest: _Optional[bytes] = ...) -> None: ...

class InviteToken(_message.Message):
    __slots__ = ("fleet", "root", "invite_seed", "addresses", "tls_pin", "expires_ms", "link", "roles", "multiaddrs")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    INVITE_SEED_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    TLS_PIN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    MULTIADDRS_FIELD_NUMBER: _ClassVar[int]
    fleet: bytes
    root: bytes
    invite_seed: bytes
    addresses: _containers.RepeatedScalarFieldContainer[str]
    tls_pin: bytes
    expires_ms: int
    link: str
    roles: _containers.RepeatedScalarFieldContainer[str]
    multiaddrs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, fleet: _Optional[bytes] = ..., root: _Optional[bytes] = ..., invite_seed: _Optional[bytes] = ..., addresses: _Optional[_Iterable[str]] = ..., tls_pin: _Optional[bytes] = ..., expires_ms: _Optional[int] = ..., link: _Optional[str] = ..., roles: _Optional[_Iterable[str]] = ..., multiaddrs: _Optional[_Iterable[str]] = ...) -> None: ...

class EnrolBody(_message.Message):
    __slots__ = ("fleet", "invite", "member", "signing_key", "name", "time_ms")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    INVITE_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    fleet: bytes
    invite: bytes
    member: bytes
    signing_key: bytes
    name: str
    time_ms: int
    def __init__(self, fleet: _Optional[bytes] = ..., invite: _Optional[bytes] = ..., member: _Optional[bytes] = ..., signing_key: _Optional[bytes] = ..., name: _Optional[str] = ..., time_ms: _Optional[int] = ...) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("body", "invite_signature", "member_signature", "signing_signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    INVITE_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    MEMBER_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SIGNING_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    invite_signature: bytes
    member_signature: bytes
    signing_signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., invite_signature: _Optional[bytes] = ..., member_signature: _Optional[bytes] = ..., signing_signature: _Optional[bytes] = ...) -> None: ...

class Membership(_message.Message):
    __slots__ = ("entry", "roster", "certificates", "rotations", "roster_version", "fleet", "root", "format")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    ROTATIONS_FIELD_NUMBER: _ClassVar[int]
    ROSTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    FLEET_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    entry: bytes
    roster: _containers.RepeatedScalarFieldContainer[bytes]
    certificates: _containers.RepeatedScalarFieldContainer[bytes]
    rotations: _containers.RepeatedScalarFieldContainer[bytes]
    roster_version: int
    fleet: bytes
    root: bytes
    format: int
    def __init__(self, entry: _Optional[bytes] = ..., roster: _Optional[_Iterable[bytes]] = ..., certificates: _Optional[_Iterable[bytes]] = ..., rotations: _Optional[_Iterable[bytes]] = ..., roster_version: _Optional[int] = ..., fleet: _Optional[bytes] = ..., root: _Optional[bytes] = ..., format: _Optional[int] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("hash", "data", "timestamp", "ttl", "version", "signature")
    HASH_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    hash: bytes
    data: bytes
    timestamp: int
    ttl: int
    version: int
    signature: bytes
    def __init__(self, hash: _Optional[bytes] = ..., data: _Optional[bytes] = ..., timestamp: _Optional[int] = ..., ttl: _Optional[int] = ..., version: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...

class PeerInfo(_message.Message):
    __slots__ = ("peer_id", "multiaddrs", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    MULTIADDRS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    peer_id: bytes
    multiaddrs: _containers.RepeatedScalarFieldContainer[bytes]
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, peer_id: _Optional[bytes] = ..., multiaddrs: _Optional[_Iterable[bytes]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class PartnerList(_message.Message):
    __slots__ = ("fleet", "to", "hub", "expires_ms", "refresh_ms", "candidates", "partners", "visitors")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    HUB_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    REFRESH_MS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    PARTNERS_FIELD_NUMBER: _ClassVar[int]
    VISITORS_FIELD_NUMBER: _ClassVar[int]
    fleet: bytes
    to: bytes
    hub: bytes
    expires_ms: int
    refresh_ms: int
    candidates: int
    partners: _containers.RepeatedCompositeFieldContainer[Partner]
    visitors: _containers.RepeatedCompositeFieldContainer[Partner]
    def __init__(self, fleet: _Optional[bytes] = ..., to: _Optional[bytes] = ..., hub: _Optional[bytes] = ..., expires_ms: _Optional[int] = ..., refresh_ms: _Optional[int] = ..., candidates: _Optional[int] = ..., partners: _Optional[_Iterable[_Union[Partner, _Mapping]]] = ..., visitors: _Optional[_Iterable[_Union[Partner, _Mapping]]] = ...) -> None: ...

class Partner(_message.Message):
    __slots__ = ("member", "name", "addresses", "expires_ms")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    member: bytes
    name: str
    addresses: _containers.RepeatedScalarFieldContainer[str]
    expires_ms: int
    def __init__(self, member: _Optional[bytes] = ..., name: _Optional[str] = ..., addresses: _Optional[_Iterable[str]] = ..., expires_ms: _Optional[int] = ...) -> None: ...
