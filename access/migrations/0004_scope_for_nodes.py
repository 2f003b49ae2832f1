"""The scope `nodes` of API tokens, in the words of the field's help."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('access', '0003_announce_changes'),
    ]

    operations = [
        migrations.AlterField(
            model_name='apitoken',
            name='scopes',
            field=models.JSONField(blank=True, default=list, help_text='Empty: all that the user may. Else some of: read, read:cluster, logs, storage:read, write, terminal, files, secrets, nodes, admin, storage:write.'),
        ),
    ]
