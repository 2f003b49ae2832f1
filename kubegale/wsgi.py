"""The WSGI application: pages, admin and every JSON route."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")

application = get_wsgi_application()
