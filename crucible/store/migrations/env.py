"""Runs the migrations on the connection, and in the transaction, that the store hands over."""

from alembic import context

from crucible.store.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
