"""library: tags as rows, and indexes of a space's pictures by date, status, format and digest.

Revision: 0018, after 0017.
"""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# Of each space and tag the pictures, in order: lists by tag and counts of tags read it alone. The
# step may be repeated after a kill.
TAGS = """
    CREATE TABLE IF NOT EXISTS image_tags (
        owner_id bigint NOT NULL,
        tag text NOT NULL,
        image_id bigint NOT NULL,
        CONSTRAINT pk_image_tags PRIMARY KEY (owner_id, tag, image_id)
    )
"""
# Whoever writes pictures, the release before included, keeps it.
KEEP = """
    CREATE OR REPLACE FUNCTION keep_image_tags() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO image_tags SELECT owner_id, unnest(tags), id FROM changed
            ON CONFLICT DO NOTHING;
        ELSIF TG_OP = 'DELETE' THEN
            DELETE FROM image_tags AS kept
            USING (SELECT owner_id, unnest(tags) AS tag, id FROM changed) AS gone
            WHERE kept.owner_id = gone.owner_id AND kept.tag = gone.tag
                AND kept.image_id = gone.id;
        ELSE
            DELETE FROM image_tags
            WHERE owner_id = OLD.owner_id AND tag = any(OLD.tags) AND image_id = OLD.id;
            INSERT INTO image_tags SELECT NEW.owner_id, unnest(NEW.tags), NEW.id
            ON CONFLICT DO NOTHING;
        END IF;
        RETURN NULL;
    END
    $$
"""
# For each row: triggers for columns have no tables of what changed, and one without would cost
# every other change.
TRIGGERS = (
    """
    CREATE OR REPLACE TRIGGER keep_tags_of_new AFTER INSERT ON images
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_image_tags()
    """,
    """
    CREATE OR REPLACE TRIGGER keep_tags_of_gone AFTER DELETE ON images
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION keep_image_tags()
    """,
    """
    CREATE OR REPLACE TRIGGER keep_tags_of_changed AFTER UPDATE OF tags, owner_id ON images
    FOR EACH ROW WHEN (OLD.tags <> NEW.tags OR OLD.owner_id <> NEW.owner_id)
    EXECUTE FUNCTION keep_image_tags()
    """,
)
# The pictures that were there before the triggers. Those of a batch are held against changes, or
# tags that they have lost meanwhile would be written.
BATCH = 5_000
FILL = f"""
    WITH batch AS MATERIALIZED (
        SELECT id, owner_id, tags FROM images
        WHERE id > %(after)s ORDER BY id LIMIT {BATCH} FOR SHARE
    ), added AS (
        INSERT INTO image_tags SELECT owner_id, unnest(tags), id FROM batch
        ON CONFLICT DO NOTHING
    )
    SELECT max(id) FROM batch
"""
# When a picture was taken, as its file says; else when it was uploaded. Without an offset, which
# few cameras write, the time is UTC's. A day that its month does not have is one of the next.
TAKEN_AT = r"""
    CREATE OR REPLACE FUNCTION image_taken_at(metadata jsonb, received_at timestamptz)
    RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE
        said text = metadata #>> '{exif,taken_at}';
        found timestamp;
    BEGIN
        IF said IS NULL OR said !~ (
            '^(18|19|20|21)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])'
            'T([01]\d|2[0-3]):[0-5]\d:[0-5]\d([+-]\d\d:\d\d)?$'
        ) THEN
            RETURN received_at;
        END IF;
        found = make_timestamp(
            substr(said, 1, 4)::integer, substr(said, 6, 2)::integer, 1,
            substr(said, 12, 2)::integer, substr(said, 15, 2)::integer,
            substr(said, 18, 2)::integer
        ) + (substr(said, 9, 2)::integer - 1) * interval '1 day';
        IF length(said) > 19 THEN
            found = found - (substr(said, 20, 1) || '1')::integer * make_interval(
                hours => substr(said, 21, 2)::integer, mins => substr(said, 24, 2)::integer
            );
        END IF;
        RETURN found AT TIME ZONE 'UTC';
    END
    $$
"""
INDEXES = {
    # The same way round as its columns: what compares rows cannot use any other.
    "ix_images_owner_id_id": "owner_id, id) INCLUDE (size",
    "ix_images_owner_id_received_at_id": "owner_id, received_at, id",
    "ix_images_owner_id_taken_at_id": "owner_id, image_taken_at(metadata, received_at), id",
    "ix_images_owner_id_status_id": "owner_id, status, id",
    "ix_images_owner_id_format_id": "owner_id, format, id",
    "ix_images_owner_id_sha256": "owner_id, sha256",
}
OLD = {
    "ix_images_tags": "images USING gin (tags)",
    "ix_images_owner_id_id_size": "images (owner_id, id DESC) INCLUDE (size)",
}


def upgrade() -> None:
    op.execute(TAGS)
    op.execute(KEEP)
    op.execute(TAKEN_AT)
    for trigger in TRIGGERS:
        op.execute(trigger)
    with op.get_context().autocommit_block():  # rows are added meanwhile
        _fill()
        for name, columns in INDEXES.items():
            _create(name, f"images ({columns})")
        for name in OLD:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name, where in OLD.items():
            _create(name, where)
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
    op.execute("DROP FUNCTION keep_image_tags() CASCADE")  # with the triggers
    op.execute("DROP FUNCTION image_taken_at(jsonb, timestamptz)")
    op.execute("DROP TABLE image_tags")


def _fill() -> None:
    after: int | None = 0
    while after is not None:
        after = op.get_bind().exec_driver_sql(FILL, {"after": after}).scalar()


def _create(name: str, where: str) -> None:
    # One that was interrupted is left behind, and is no good.
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {where}")
