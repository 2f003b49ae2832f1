import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


# Lines are added and read. Only retention deletes: it says, for its own transaction, up to when lines have expired.
APPEND_ONLY = """
CREATE FUNCTION access_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE'
       AND OLD.at < COALESCE(NULLIF(current_setting('kubegale.audit_expiry', true), ''), '-infinity')::timestamptz THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER access_audit_append_only BEFORE UPDATE OR DELETE ON access_auditentry
    FOR EACH ROW EXECUTE FUNCTION access_audit_append_only();
"""
UNDO = """
DROP TRIGGER access_audit_append_only ON access_auditentry;
DROP FUNCTION access_audit_append_only();
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('clusters', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ApiToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('hint', models.CharField(editable=False, help_text='The first characters, to tell tokens apart.', max_length=12)),
                ('scopes', models.JSONField(blank=True, default=list, help_text='Empty: all that the user may. Else some of: read, read:cluster, logs, storage:read, write, terminal, files, secrets, admin, storage:write.')),
                ('clusters', models.JSONField(blank=True, default=list, help_text='Empty: every cluster. Else names of clusters, or clusterIds of the store.')),
                ('wire', models.CharField(blank=True, choices=[('doc', 'doc'), ('go', 'go')], default='', help_text='How bcs-storage answers this token; empty leaves it to the address.', max_length=3)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_tokens', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'API token',
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(auto_now_add=True)),
                ('user_pk', models.BigIntegerField(null=True)),
                ('username', models.CharField(blank=True, default='', max_length=150)),
                ('token', models.CharField(blank=True, default='', help_text='Name and hint of the API token used.', max_length=120)),
                ('address', models.GenericIPAddressField(null=True)),
                ('request_id', models.CharField(blank=True, default='', max_length=64)),
                ('dialect', models.CharField(max_length=32)),
                ('verb', models.CharField(max_length=64)),
                ('cluster_pk', models.BigIntegerField(null=True)),
                ('cluster', models.CharField(blank=True, default='', max_length=253)),
                ('group', models.CharField(blank=True, default='', max_length=253)),
                ('kind', models.CharField(blank=True, default='', max_length=253)),
                ('namespace', models.CharField(blank=True, default='', max_length=253)),
                ('name', models.CharField(blank=True, default='', max_length=253)),
                ('result', models.CharField(choices=[('success', 'Success'), ('denied', 'Denied'), ('failed', 'Failed')], max_length=8)),
                ('reason', models.CharField(blank=True, default='', help_text="The error's code; never its text, which could quote the input.", max_length=64)),
                ('diff', models.JSONField(blank=True, default=list)),
                ('details', models.JSONField(blank=True, default=dict)),
            ],
            options={
                'verbose_name_plural': 'audit entries',
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['at'], name='audit_at'), models.Index(fields=['username', '-id'], name='audit_user'), models.Index(fields=['cluster_pk', 'namespace', '-id'], name='audit_place'), models.Index(fields=['kind', 'name', '-id'], name='audit_object'), models.Index(fields=['request_id'], name='audit_request')],
            },
        ),
        migrations.CreateModel(
            name='ExternalIdentity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('issuer', models.CharField(max_length=300)),
                ('subject', models.CharField(max_length=255)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='external_identities', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'external identities',
            },
        ),
        migrations.CreateModel(
            name='Grant',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('viewer', 'viewer'), ('operator', 'operator'), ('admin', 'admin')], max_length=16)),
                ('namespace', models.CharField(blank=True, default='', help_text='Empty: the whole cluster.', max_length=63)),
                ('namespace_uid', models.CharField(blank=True, default='', help_text='Set as soon as the namespace is seen.', max_length=64)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.CharField(blank=True, default='', max_length=150)),
                ('cluster', models.ForeignKey(blank=True, help_text='Empty: every cluster.', null=True, on_delete=django.db.models.deletion.CASCADE, to='clusters.cluster')),
                ('group', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='grants', to='auth.group')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.RunSQL(APPEND_ONLY, UNDO),
    ]
