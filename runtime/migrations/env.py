"""How Alembic runs a revision: on the connection that `runtime.migrate` gives it."""

from alembic import context

from runtime.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    on_version_apply=context.config.attributes["on_version_apply"],
)
context.run_migrations()
