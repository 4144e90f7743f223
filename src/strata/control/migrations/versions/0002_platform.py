"""API tokens, senders, destinations, hosts, alerts, samples and webhooks; whose an event is."""

import sqlalchemy as sa
from alembic import op

from strata.control.tables import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _upgrade_users()
    _upgrade_streams_and_events()
    _create_senders_and_destinations()
    _create_alerts_and_samples()
    _create_webhooks()
    op.create_table(
        "hosts",
        sa.Column("id", sa.String(253), primary_key=True),
        sa.Column("is_draining", sa.Boolean(), nullable=False),
    )


def _upgrade_users() -> None:
    with op.batch_alter_table("users") as users:
        users.add_column(
            sa.Column("is_disabled", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        users.add_column(sa.Column("sees", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "user_id",
            sa.String(40),
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime()),
        sa.Column("used_at", UtcDateTime()),
    )
    op.execute(
        "INSERT INTO tokens (id, user_id, kind, name, secret_hash, created_at, expires_at)"
        " SELECT id, user_id, 'login', '', secret_hash, created_at, expires_at FROM sessions"
    )
    op.drop_table("sessions")


def _upgrade_streams_and_events() -> None:
    with op.batch_alter_table("streams") as streams:
        streams.add_column(sa.Column("sender_id", sa.String(40)))
        streams.add_column(sa.Column("request", sa.JSON(), nullable=False, server_default="{}"))
        streams.add_column(sa.Column("policy", sa.JSON()))
        streams.add_column(sa.Column("source_sealed", sa.LargeBinary()))
    op.create_index("ix_streams_sender_id", "streams", ["sender_id"])
    op.drop_index("ix_events_stream_id", "events")
    with op.batch_alter_table("events") as events:
        events.alter_column("stream_id", new_column_name="subject", type_=sa.String(253))
        events.add_column(sa.Column("owner_id", sa.String(40)))
    for column in ("subject", "owner_id", "at"):
        op.create_index(f"ix_events_{column}", "events", [column])
    op.execute(
        "UPDATE events SET owner_id ="
        " (SELECT owner_id FROM streams WHERE streams.id = events.subject)"
    )


def _create_senders_and_destinations() -> None:
    op.create_table(
        "senders",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("owner_id", sa.String(40), sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("enrollment_hash", sa.LargeBinary(32)),
        sa.Column("enrollment_expires_at", UtcDateTime()),
        sa.Column("device_hash", sa.LargeBinary(32)),
        sa.Column("hostname", sa.String(253)),
        sa.Column("arch", sa.String(40)),
        sa.Column("agent_version", sa.String(40)),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("enrolled_at", UtcDateTime()),
        sa.Column("seen_at", UtcDateTime()),
    )
    op.create_table(
        "destinations",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("owner_id", sa.String(40), sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("url_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )


def _create_alerts_and_samples() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("subject", sa.String(253), nullable=False, index=True),
        sa.Column("owner_id", sa.String(40), index=True),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("detail", sa.String(2000), nullable=False),
        sa.Column("forward", sa.String(40)),
        sa.Column("port", sa.Integer()),
        sa.Column("raised_at", UtcDateTime(), nullable=False),
        sa.Column("cleared_at", UtcDateTime(), index=True),
        sa.Column("acked_at", UtcDateTime()),
        sa.Column("acked_by", sa.String(40)),
    )
    op.create_table(
        "samples",
        sa.Column("stream_id", sa.String(40), primary_key=True),
        sa.Column("at", UtcDateTime(), primary_key=True),
        sa.Column("data", sa.JSON(), nullable=False),
    )
    op.create_index("ix_samples_at", "samples", ["at"])


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("owner_id", sa.String(40), sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("url_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("types", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "webhook_id",
            sa.String(40),
            sa.ForeignKey("webhooks.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), index=True),
        sa.Column("delivered_at", UtcDateTime()),
        sa.Column("error", sa.String(500)),
    )


def downgrade() -> None:
    raise NotImplementedError("restore the backup that was made before the upgrade")
