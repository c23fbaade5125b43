"""What contenders are called, in the results and wherever these are shown."""

OURS = "bulk_upsert(), instances"
MAPPINGS = "bulk_upsert(), mappings"
SAME = "same floor, instances"
SAME_MAPPINGS = "same floor, mappings"
BARE = "bare floor"
DJANGO = "Django, bulk_create()"
PGBULK = "django-pgbulk, upsert()"
EXTRA = "django-postgres-extra"
LOAD = "django-bulk-load"
ALCHEMY = "SQLAlchemy"
ASYNCPG = "asyncpg recipe"
PSYCOPG = "psycopg recipe"

UPDATE = "bulk_update()"
UPDATE_SAME = "same floor"
DJANGO_UPDATE = "Django, bulk_update()"
COPY_UPDATE = "django-fast-update, copy_update()"
FAST_UPDATE = "django-fast-update, fast_update()"
PGBULK_UPDATE = "django-pgbulk, update()"
PG_BULK_UPDATE = "django-pg-bulk-update"

COPY = "bulk_copy(), instances"
COPY_MAPPINGS = "bulk_copy(), mappings"
DIRECT = "direct COPY"
DJANGO_CREATE = "Django, bulk_create()"
PGBULK_COPY = "django-pgbulk, copy()"

#: The library's own.
OURS_ALL = (OURS, MAPPINGS, UPDATE, COPY, COPY_MAPPINGS)
#: No contenders, but what nobody can be faster than.
FLOORS = (SAME, SAME_MAPPINGS, BARE, UPDATE_SAME, DIRECT)
