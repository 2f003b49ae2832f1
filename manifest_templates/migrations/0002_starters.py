from django.db import migrations

from manifest_templates import built_in


def install(apps, _schema_editor):
    """Store the templates that KubeGale brings along."""
    template = apps.get_model('manifest_templates', 'Template')
    version = apps.get_model('manifest_templates', 'TemplateVersion')
    built_in.install(template.objects, version.objects)


class Migration(migrations.Migration):

    dependencies = [
        ('manifest_templates', '0001_initial'),
    ]

    operations = [
        # Files that come with later versions are stored by a migration of theirs that does the same.
        migrations.RunPython(install, migrations.RunPython.noop),
    ]
