"""The admin application with the console's site in the place of Django's."""

from django.contrib.admin.apps import SimpleAdminConfig


class ConsoleAdminConfig(SimpleAdminConfig):
    """Loads no application's admin module: `kubegale.urls` does, background processes do not."""

    default_site = "kubegale.admin_site.ConsoleAdminSite"
