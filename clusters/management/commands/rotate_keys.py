"""Re-encrypt everything that is encrypted at rest."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.crypto import rotate_all


class Command(BaseCommand):
    """Run after a new key was put first in FIELD_ENCRYPTION_KEYS; then remove the old key."""

    help = "Encrypt every secret under the first key of FIELD_ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print how many rows were rewritten; CommandError when one cannot be decrypted."""
        try:
            self.stdout.write(f"{rotate_all()} rows are encrypted under the first key")
        except ValueError as error:
            raise CommandError(f"{error}: nothing was changed") from None
