"""The Celery application; queues and limits come from settings."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")

app = Celery("kubegale")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
