"""Run by Alembic, which loads it by its path: migrates the connection whose transaction the caller is in."""

from alembic import context

context.configure(**context.config.attributes["configure"])
context.run_migrations()
