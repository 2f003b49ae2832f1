"""The names of models, columns and choices in the admin site, in the viewer's language.

The models say them in plain English: operations, audit lines and migrations need no other. Only who
serves addresses loads the admin site, and only there they follow the language of a request.
"""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Field, Model
from django.utils.functional import lazy
from django.utils.translation import gettext, gettext_lazy, override, pgettext


def translate_names() -> None:
    """Let the names of all models of the admin site follow the viewer's language."""
    for model in _models():
        options: Any = model._meta
        options.verbose_name = _lazy(options.verbose_name)
        options.verbose_name_plural = _lazy(options.verbose_name_plural)
        for field in options.get_fields():
            if isinstance(field, Field):
                field.verbose_name = _lazy(field.verbose_name)
                field.help_text = _lazy(field.help_text)
                _translate_choices(field)
        application: Any = apps.get_app_config(options.app_label)
        application.verbose_name = _lazy(application.verbose_name)


def _translate_choices(field: Any) -> None:
    """Let the labels of a column's choices follow the language, in lists, filters and forms."""
    if field.choices:
        choices = field.flatchoices
        field.choices = [(value, _lazy_choice(_in_english(label))) for value, label in choices]


def _models() -> set[type[Model]]:
    """Those with a page of their own or inside another's."""
    pages = admin.site._registry
    inside = {inline.model for page in pages.values() for inline in page.inlines}
    return {*pages, *inside}


def _in_english(text: Any) -> str:
    with override(None):
        return str(text)


def _lazy(text: Any) -> Any:
    """A text that is translated when it is read: a plural as a whole, not its singular and an s."""
    english = _in_english(text)
    return gettext_lazy(english) if english else text


def _choice_label(english: str) -> str:
    """A choice in the viewer's language: alone, a word may mean something else than on a button."""
    label = pgettext("choice", english)
    return gettext(english) if label == english else label


_lazy_choice = lazy(_choice_label, str)
