"""What Alembic runs: the revisions, on the connection that `app.adapters.postgres.migrate` gives it."""

from alembic import context

from app.adapters.postgres.tables.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
