"""The database itself keeps the ledger balanced and append-only."""

from django.db import migrations

BALANCED = """
CREATE FUNCTION billing_posting_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE total numeric;
BEGIN
    SELECT sum(amount) INTO total FROM billing_entry WHERE posting_id = NEW.posting_id;
    IF total <> 0 THEN
        RAISE EXCEPTION 'posting % is out of balance by %', NEW.posting_id, total USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER billing_posting_balanced AFTER INSERT ON billing_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_posting_balanced();
"""
APPEND_ONLY = """
CREATE FUNCTION billing_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only ever grows', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER billing_append_only BEFORE UPDATE OR DELETE ON billing_entry
    FOR EACH ROW EXECUTE FUNCTION billing_append_only();
CREATE TRIGGER billing_append_only BEFORE UPDATE OR DELETE ON billing_posting
    FOR EACH ROW EXECUTE FUNCTION billing_append_only();
CREATE TRIGGER billing_append_only BEFORE UPDATE OR DELETE ON billing_usagesample
    FOR EACH ROW EXECUTE FUNCTION billing_append_only();
CREATE TRIGGER billing_append_only BEFORE UPDATE OR DELETE ON billing_payment
    FOR EACH ROW EXECUTE FUNCTION billing_append_only();
"""
UNDO = """
DROP TRIGGER billing_append_only ON billing_payment;
DROP TRIGGER billing_append_only ON billing_usagesample;
DROP TRIGGER billing_append_only ON billing_posting;
DROP TRIGGER billing_append_only ON billing_entry;
DROP FUNCTION billing_append_only();
DROP TRIGGER billing_posting_balanced ON billing_entry;
DROP FUNCTION billing_posting_balanced();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [migrations.RunSQL([BALANCED, APPEND_ONLY], [UNDO])]
