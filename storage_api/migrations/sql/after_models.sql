-- What stands on the tables of models.
CREATE INDEX storage_event_came ON storage_event (cluster_id, event_id);
CREATE TRIGGER storage_gap_announce BEFORE INSERT ON storage_gap
  FOR EACH STATEMENT EXECUTE FUNCTION storage_change_announce();
