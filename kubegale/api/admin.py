"""Admin base classes with types: unfold's look at run time, Django's stubs for the type checker."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.forms import ModelForm
else:
    from django.forms import ModelForm as PlainForm
    from unfold.admin import ModelAdmin as UnfoldAdmin
    from unfold.admin import TabularInline as UnfoldInline

    class _Subscriptable:
        """`ModelAdmin[Row]` in an annotation is the class itself."""

        def __class_getitem__(cls, _: object) -> object:
            return cls

    class ModelAdmin(_Subscriptable, UnfoldAdmin):
        """One model's pages."""

    class TabularInline(_Subscriptable, UnfoldInline):
        """Rows of another model inside a page."""

    class ModelForm(_Subscriptable, PlainForm):
        """A form over a model."""


__all__ = ["ModelAdmin", "ModelForm", "TabularInline"]
