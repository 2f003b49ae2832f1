"""Triggers that announce changes of the rows which processes keep in memory (core/row_cache.py)."""

from pathlib import Path

from django.conf import settings
from django.db import migrations


FORWARD = (Path(__file__).parent / "sql" / "announce.sql").read_text(encoding="utf-8")
BACKWARD = "DROP FUNCTION announce_rows() CASCADE;"


class Migration(migrations.Migration):

    dependencies = [
        ('access', '0002_initial'),
        ('auth', '0012_alter_user_first_name_max_length'),
        ('clusters', '0001_initial'),
        ('token_blacklist', '0013_alter_blacklistedtoken_options_and_more'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
