"""The tables, as SQLAlchemy sees them. Their history is in ``migrations/``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC: SQLite returns it without a zone, PostgreSQL in that of the session."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo is None:
            return value
        try:
            return value.astimezone(UTC)
        except OverflowError:  # the first or the last day that there is, somewhere
            return value.replace(tzinfo=UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        found: datetime = value
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


class User(Base):
    """Somebody who may log in.

    Attributes:
        sees: ids of other users whose things this one may look at.
    """

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    is_disabled: Mapped[bool] = mapped_column(default=False)
    sees: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime]


class Token(Base):
    """A login, or an API token. Its secret is kept as a hash only.

    Attributes:
        kind: ``login`` or ``api``.
        expires_at: None for an API token that lives until it is deleted.
    """

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(120))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]


class Sender(Base):
    """A box in the field. Each of its two tokens is kept as a hash only.

    Attributes:
        enrollment_hash: of the token that it shows once; None when it has.
        device_hash: of the token that it has shown ever since; None before.
    """

    __tablename__ = "senders"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(120))
    enrollment_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    enrollment_expires_at: Mapped[datetime | None]
    device_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    hostname: Mapped[str | None] = mapped_column(String(253))
    arch: Mapped[str | None] = mapped_column(String(40))
    agent_version: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime]
    enrolled_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]


class Destination(Base):
    """Where pictures may go.

    Attributes:
        url: as it may be shown; ``url_sealed`` is the whole of it, with its key.
    """

    __tablename__ = "destinations"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(120))
    kind: Mapped[str] = mapped_column(String(16))
    url: Mapped[str] = mapped_column(String(2048))
    url_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class Stream(Base):
    """What should run, and what became of it.

    Attributes:
        request: what it was started with, but for secrets.
        source_sealed: where its sender takes the picture from; None without a sender.
        policy: what is done when little arrives; None: nothing.
    """

    __tablename__ = "streams"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    sender_id: Mapped[str | None] = mapped_column(String(40), index=True)
    name: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[str | None] = mapped_column(String(2000))
    host: Mapped[str | None] = mapped_column(String(253))
    ports: Mapped[list[Any]]
    request: Mapped[dict[str, Any]] = mapped_column(default=dict)
    policy: Mapped[dict[str, Any] | None]
    psk_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    forwards_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    source_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Host(Base):
    """A machine that runs workers, as far as people have a say in it."""

    __tablename__ = "hosts"

    id: Mapped[str] = mapped_column(String(253), primary_key=True)
    is_draining: Mapped[bool] = mapped_column(default=False)


class Event(Base):
    """What happened, for whoever asks afterwards.

    Attributes:
        subject: the id of what it is about.
        owner_id: whose that is; None for what concerns administrators alone.
        user_id: who did it; None where nobody did.
    """

    __tablename__ = "events"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    subject: Mapped[str | None] = mapped_column(String(253), index=True)
    owner_id: Mapped[str | None] = mapped_column(String(40), index=True)
    user_id: Mapped[str | None] = mapped_column(String(40))
    type: Mapped[str] = mapped_column(String(40))
    data: Mapped[dict[str, Any]]


class Alert(Base):
    """Something that was wrong, from when it began until it was over.

    Attributes:
        kind: for programs, as in :class:`strata.control.troubles.Key`.
        forward: which one, where it is about a forward.
        port: of which link, where it is about a link.
    """

    __tablename__ = "alerts"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    subject: Mapped[str] = mapped_column(String(253), index=True)
    owner_id: Mapped[str | None] = mapped_column(String(40), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    detail: Mapped[str] = mapped_column(String(2000))
    forward: Mapped[str | None] = mapped_column(String(40))
    port: Mapped[int | None]
    raised_at: Mapped[datetime]
    cleared_at: Mapped[datetime | None] = mapped_column(index=True)
    acked_at: Mapped[datetime | None]
    acked_by: Mapped[str | None] = mapped_column(String(40))


class Sample(Base):
    """The numbers of a stream at one moment, for charts."""

    __tablename__ = "samples"
    __table_args__ = (Index("ix_samples_at", "at"),)

    stream_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    data: Mapped[dict[str, Any]]


class Webhook(Base):
    """An address that is told of events.

    Attributes:
        url: as it may be shown; ``url_sealed`` is the whole of it.
        types: of the events that it is told; none at all: all of them.
    """

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    url: Mapped[str] = mapped_column(String(2048))
    url_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    secret_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    types: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime]


class Delivery(Base):
    """An event on its way to a webhook.

    Attributes:
        due_at: when it is tried next; None once it has arrived or was given up.
        error: why the latest attempt failed.
    """

    __tablename__ = "deliveries"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(
        ForeignKey("webhooks.id", ondelete="CASCADE"), index=True
    )
    body: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    due_at: Mapped[datetime | None] = mapped_column(index=True)
    delivered_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(String(500))
