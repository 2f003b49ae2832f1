"""People with grants, as in the tests of access."""

from tests.access.conftest import person, space

__all__ = ["person", "space"]
