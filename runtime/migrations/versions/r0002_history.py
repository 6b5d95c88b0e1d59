"""Rollups of what happened, and the replicas that there were."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXT = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make both tables; they begin empty, since nothing was kept before."""
    op.create_table(
        "rollups",
        sa.Column("width", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("at", INTEGER, primary_key=True, autoincrement=False),
        sa.Column("function", TEXT, primary_key=True),
        sa.Column("device", TEXT, primary_key=True),
        sa.Column("writer", TEXT, primary_key=True),
        sa.Column("data", TEXT, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "replicas",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("spawned_at", sa.Double(), primary_key=True),
        sa.Column("function", TEXT, nullable=False),
        sa.Column("device", TEXT, nullable=False),
        sa.Column("data", TEXT, nullable=False),
        sa.Column("ended_at", sa.Double()),
        sa.Column("seen_at", sa.Double(), nullable=False),
    )
    op.create_index("replicas_by_end", "replicas", ["ended_at"])
