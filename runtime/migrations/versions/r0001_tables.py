"""The tables of the first release.

A revision says what the tables were like then, and shares nothing with `runtime.schema`, which says
what they are like now.  There is no way back but a backup.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

ENDS = "'cancelled', 'dead', 'failed', 'succeeded', 'timed_out'"
GOING_ON = "'queued', 'running'"
UNQUEUED = "'cancelled', 'dead', 'failed', 'running', 'succeeded', 'timed_out'"
IN_BATCH = "batch IS NOT NULL"
HAS_KEY = "idempotency_key IS NOT NULL"


def upgrade() -> None:
    """Make every table, or change those of the layout before there were revisions."""
    if sa.inspect(op.get_bind()).has_table("meta"):
        change_version_1()
    else:
        create_invocations()
        create_attempts()
        create_decisions()
        create_totals()
    create_callbacks()
    create_batches()
    create_settled_letters()
    create_leases()
    index("by_batch", "invocations", "batch", "created_at", "id", where=IN_BATCH)
    index("by_batch_status", "invocations", "batch", "status", "batch_index", where=IN_BATCH)
    ended_at = sa.text("coalesce(finished_at, created_at)")
    index("by_end", "invocations", ended_at, "id", where=f"status NOT IN ({GOING_ON})")
    waiting = f"NOT published AND status NOT IN ({UNQUEUED})"
    index("unpublished", "invocations", "batch", "created_at", "id", where=waiting)


def change_version_1() -> None:
    """SQLite ledgers said `schema_version` in a table `meta` of their own, and it was 1."""
    for column in added():
        op.add_column("invocations", column)
    op.rename_table("totals", "totals_before")
    create_totals()
    op.execute("INSERT INTO totals (name, part, count) SELECT name, 0, count FROM totals_before")
    op.drop_table("totals_before")
    op.drop_table("meta")


def added() -> list[sa.Column[object]]:
    """What version 1 had not."""
    return [
        sa.Column("callback", TEXT),
        sa.Column("batch", TEXT),
        sa.Column("batch_index", INTEGER),
        sa.Column("published", sa.Boolean(), nullable=False, server_default=sa.text("true")),
    ]


def create_invocations() -> None:
    callback, batch, batch_index, published = added()
    op.create_table(
        "invocations",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("function", TEXT, nullable=False),
        sa.Column("requested_device", TEXT, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("priority", INTEGER, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("parameters", TEXT),
        sa.Column("input_key", TEXT),
        sa.Column("input_parts", TEXT),
        sa.Column("idempotency_key", TEXT),
        sa.Column("fingerprint", TEXT),
        sa.Column("replayed_from", TEXT),
        sa.Column("traceparent", TEXT),
        callback,
        batch,
        batch_index,
        sa.Column("status", TEXT, nullable=False),
        published,
        sa.Column("device", TEXT, nullable=False),
        sa.Column("attempt", INTEGER, nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("timings", TEXT),
        sa.Column("cold", sa.Boolean(), nullable=False),
        sa.Column("replica", TEXT),
        sa.Column("error", TEXT),
        sa.Column("result", TEXT),
        sa.Column("result_part", TEXT),
        sa.Column("blobs", TEXT),
        sa.Column("log", TEXT),
    )
    index("by_creation", "invocations", "created_at", "id")
    index("by_function", "invocations", "function", "created_at", "id")
    index("by_status", "invocations", "status", "created_at", "id")
    index("unfinished", "invocations", "id", where=f"status NOT IN ({ENDS})")
    index("samples", "invocations", "function", "device", "id", where="status = 'succeeded'")
    index("by_idempotency_key", "invocations", "idempotency_key", where=HAS_KEY, unique=True)


def create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("invocation", TEXT, primary_key=True),
        sa.Column("attempt", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("replica", TEXT),
        sa.Column("device", TEXT, nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("error", TEXT),
    )


def create_decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("number", INTEGER, primary_key=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("function", TEXT, nullable=False),
        sa.Column("device", TEXT, nullable=False),
        sa.Column("before", INTEGER, nullable=False),
        sa.Column("after", INTEGER, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("backlog", INTEGER, nullable=False),
    )
    index("decisions_by_function", "decisions", "function", "number")


def create_totals() -> None:
    op.create_table(
        "totals",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("part", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("count", INTEGER, nullable=False),
    )


def create_callbacks() -> None:
    op.create_table(
        "callbacks",
        sa.Column("invocation", TEXT, primary_key=True),
        sa.Column("url", TEXT, nullable=False),
        sa.Column("attempts", INTEGER, nullable=False),
        sa.Column("status_code", INTEGER),
        sa.Column("error", TEXT),
        sa.Column("finished", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
    )
    index("unsent_callbacks", "callbacks", "updated_at", "invocation", where="NOT finished")


def create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("function", TEXT, nullable=False),
        sa.Column("requested_device", TEXT, nullable=False),
        sa.Column("total", INTEGER),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("idempotency_key", TEXT),
        sa.Column("fingerprint", TEXT),
    )
    index("batches_by_creation", "batches", "created_at", "id")
    index("batches_by_idempotency_key", "batches", "idempotency_key", where=HAS_KEY, unique=True)


def create_settled_letters() -> None:
    op.create_table(
        "settled_letters",
        sa.Column("invocation", TEXT, primary_key=True),
        sa.Column("settled_at", sa.Double(), nullable=False),
        sa.Column("replayed_as", TEXT),
    )


def create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("holder", TEXT, nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
    )


def index(
    name: str, table: str, *columns: str | sa.TextClause, where: str = "", unique: bool = False
) -> None:
    """Make an index, partial where it says so, in either database."""
    condition = sa.text(where) if where else None
    op.create_index(
        name,
        table,
        list(columns),
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )
