-- Every committed change of rows that processes keep in memory is announced (core/row_cache.py), by whichever way it was made.
-- Announcements are sent when the transaction commits, and equal ones of a transaction are one.
CREATE FUNCTION announce_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('kubegale_rows', TG_ARGV[0]);
  RETURN NULL;
END
$$;

CREATE TRIGGER announce_rows AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON auth_user FOR EACH STATEMENT EXECUTE FUNCTION announce_rows('access');
CREATE TRIGGER announce_rows AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON auth_group FOR EACH STATEMENT EXECUTE FUNCTION announce_rows('access');
CREATE TRIGGER announce_rows AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON auth_user_groups FOR EACH STATEMENT EXECUTE FUNCTION announce_rows('access');
CREATE TRIGGER announce_rows AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access_grant FOR EACH STATEMENT EXECUTE FUNCTION announce_rows('access');
CREATE TRIGGER announce_rows AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON token_blacklist_blacklistedtoken
  FOR EACH STATEMENT EXECUTE FUNCTION announce_rows('access');
CREATE TRIGGER announce_rows AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON clusters_cluster FOR EACH STATEMENT EXECUTE FUNCTION announce_rows('clusters');

-- When a token was last used is written once a minute and decides nothing.
CREATE TRIGGER announce_rows AFTER INSERT OR DELETE OR TRUNCATE ON access_apitoken FOR EACH STATEMENT EXECUTE FUNCTION announce_rows('access');
CREATE TRIGGER announce_changed_rows AFTER UPDATE ON access_apitoken FOR EACH ROW
  WHEN (to_jsonb(OLD) - 'last_used_at' IS DISTINCT FROM to_jsonb(NEW) - 'last_used_at') EXECUTE FUNCTION announce_rows('access');

-- Grants on a cluster that was removed give nothing.
CREATE TRIGGER announce_removed_rows AFTER UPDATE ON clusters_cluster FOR EACH ROW
  WHEN (OLD.deleted_at IS DISTINCT FROM NEW.deleted_at) EXECUTE FUNCTION announce_rows('access');
