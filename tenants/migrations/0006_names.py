"""Names in the plural; a scope more."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0005_external_identity'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='apitoken',
            options={'ordering': ['-created_at'], 'verbose_name': 'API token'},
        ),
        migrations.AlterModelOptions(
            name='externalidentity',
            options={'verbose_name_plural': 'external identities'},
        ),
        migrations.AlterField(
            model_name='apitoken',
            name='scopes',
            field=models.JSONField(blank=True, default=list, help_text='Empty: all that the user may. Else some of: read, read:cluster, logs, storage:read, write, terminal, files, secrets, admin, storage:write.'),
        ),
    ]
