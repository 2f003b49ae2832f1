"""The WSGI application: pages, admin and every JSON route."""

import os

from django.core.wsgi import get_wsgi_application

from kubegale.front import behind_front

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")

application = behind_front(get_wsgi_application(), os.environ)
