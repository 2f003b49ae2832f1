import core.crypto
import django.db.models.deletion
import django.db.models.functions.text
from django.db import migrations, models


# What was reviewed and deployed under a version must not become something else.
NEVER_CHANGES = """
CREATE FUNCTION manifest_templates_version_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a version of a template never changes' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER manifest_templates_version_never_changes BEFORE UPDATE ON manifest_templates_templateversion
    FOR EACH ROW EXECUTE FUNCTION manifest_templates_version_never_changes();
"""
UNDO = """
DROP TRIGGER manifest_templates_version_never_changes ON manifest_templates_templateversion;
DROP FUNCTION manifest_templates_version_never_changes();
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('clusters', '0001_initial'),
        ('operations', '0002_operation_trace'),
        ('tenants', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Template',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('description', models.TextField(blank=True, default='')),
                ('category', models.CharField(blank=True, default='', max_length=63)),
                ('tags', models.JSONField(blank=True, default=list, help_text='A list of texts.')),
                ('scope', models.CharField(choices=[('all', 'All'), ('tenant', 'Tenant')], default='all', max_length=8)),
                ('icon', models.CharField(blank=True, default='', max_length=63)),
                ('built_in', models.BooleanField(default=False, help_text='Whether KubeGale brings it along.')),
                ('created_by', models.CharField(blank=True, default='', max_length=150)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('tenant', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='manifest_templates', to='tenants.tenant')),
            ],
            options={
                'ordering': ['name', 'id'],
            },
        ),
        migrations.CreateModel(
            name='TemplateDeployment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=63)),
                ('label', models.CharField(help_text='Value of the label kubegale.io/deployment of its objects.', max_length=63, unique=True)),
                ('state', models.CharField(choices=[('deploying', 'Deploying'), ('deployed', 'Deployed'), ('failed', 'Failed'), ('undeploying', 'Undeploying'), ('undeployed', 'Undeployed')], default='deploying', max_length=16)),
                ('revision', models.PositiveIntegerField(default=0)),
                ('operation', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='operations.operation')),
                ('created_by', models.CharField(blank=True, default='', max_length=150)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('template', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='deployments', to='manifest_templates.template')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='DeploymentTarget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('namespace', models.CharField(max_length=63)),
                ('kinds', models.JSONField(blank=True, default=list)),
                ('cluster', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='clusters.cluster')),
                ('deployment', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='targets', to='manifest_templates.templatedeployment')),
            ],
            options={
                'ordering': ['deployment_id', 'id'],
            },
        ),
        migrations.CreateModel(
            name='TemplateVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.CharField(help_text='A semantic version.', max_length=64)),
                ('precedence', models.CharField(db_collation='C', editable=False, help_text='Sorts as semantic versions do.', max_length=200)),
                ('body', models.TextField(help_text='YAML of any number of documents, with expressions.')),
                ('schema', models.JSONField(blank=True, default=dict, help_text='JSON Schema of the values.')),
                ('notes', models.TextField(blank=True, default='')),
                ('created_by', models.CharField(blank=True, default='', max_length=150)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('template', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='manifest_templates.template')),
            ],
            options={
                'ordering': ['template_id', '-precedence', '-id'],
            },
        ),
        migrations.CreateModel(
            name='DeploymentRevision',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('values', core.crypto.EncryptedTextField(help_text='The values as JSON.')),
                ('rendered', core.crypto.EncryptedTextField(help_text='The manifests as YAML.')),
                ('created_by', models.CharField(blank=True, default='', max_length=150)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('operation', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='operations.operation')),
                ('deployment', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='revisions', to='manifest_templates.templatedeployment')),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='revisions', to='manifest_templates.templateversion')),
            ],
            options={
                'ordering': ['deployment_id', '-number'],
            },
        ),
        migrations.AddConstraint(
            model_name='template',
            constraint=models.UniqueConstraint(django.db.models.functions.text.Lower('name'), condition=models.Q(('scope', 'all')), name='template_unique_name'),
        ),
        migrations.AddConstraint(
            model_name='template',
            constraint=models.UniqueConstraint(models.F('tenant'), django.db.models.functions.text.Lower('name'), condition=models.Q(('scope', 'tenant')), name='template_unique_name_of_tenant'),
        ),
        migrations.AddConstraint(
            model_name='template',
            constraint=models.CheckConstraint(condition=models.Q(('scope', 'tenant'), ('tenant', None), _connector='OR'), name='template_of_all_has_no_tenant'),
        ),
        migrations.AddConstraint(
            model_name='deploymenttarget',
            constraint=models.UniqueConstraint(fields=('deployment', 'cluster', 'namespace'), name='deployment_target_unique'),
        ),
        migrations.AddConstraint(
            model_name='templateversion',
            constraint=models.UniqueConstraint(fields=('template', 'version'), name='template_version_unique'),
        ),
        migrations.AddConstraint(
            model_name='deploymentrevision',
            constraint=models.UniqueConstraint(fields=('deployment', 'number'), name='deployment_revision_unique'),
        ),
        migrations.RunSQL(NEVER_CHANGES, UNDO),
    ]
