"""manage.py run_task NAME|ID [--dry-run]: a run by hand, from a shell."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from access.impersonation import identity_by_id
from automation import context as contexts
from automation import definitions, run_answers, runner, runs, types
from automation.models import Run, Task
from clusters import impersonation
from core.errors import DomainError

# Between two looks at a run, in seconds.
POLL_SECONDS = 0.5


class Command(BaseCommand):
    """Runs a task with its owner's rights, as the schedule does."""

    help = "Run a task now with its owner's rights, or say what a run would do."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The task, and how."""
        parser.add_argument("task", help="its name or id")
        parser.add_argument("--dry-run", action="store_true", help="only say what it would do")
        parser.add_argument("--no-wait", action="store_true", help="do not wait for its end")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the steps; CommandError for a run that ends in another way than well."""
        try:
            task = definitions.find_by_name(options["task"])
            if options["dry_run"]:
                self._rehearse(task)
                return
            run = runs.create(task, Run.Trigger.MANUAL)
        except DomainError as error:
            raise CommandError(error.message) from None
        self.stdout.write(f"run {run.pk} is {run.state}")
        if not options["no_wait"]:
            self._wait(run)

    def _rehearse(self, task: Task) -> None:
        params = definitions.params_of(task)
        kind = types.find(task.type)
        kind.check(params)
        context = contexts.of_task(task, params)
        with impersonation.act_as(lambda: identity_by_id(task.owner_id)):
            steps, _result = runner.rehearse(kind, context)
        self._print(steps)
        if not steps:
            self.stdout.write("there is nothing to do")

    def _wait(self, run: Run) -> None:
        """Until it is over, or waits for somebody."""
        while not run.is_over and run.state != Run.State.WAITING_APPROVAL:
            time.sleep(POLL_SECONDS)
            run = runs.find(run.pk)
        answer = run_answers.represent(run)
        self._print(answer["steps"])
        text = f"run {run.pk} is {run.state}" + (f": {run.message}" if run.message else "")
        if run.state in (Run.State.FAILED, Run.State.INTERRUPTED, Run.State.CANCELLED):
            raise CommandError(text)
        self.stdout.write(text)

    def _print(self, steps: list[dict[str, Any]]) -> None:
        for step in steps:
            name = "/".join(
                str(part)
                for part in (step["cluster_id"], step["namespace"], step["kind"], step["name"])
                if part
            )
            self.stdout.write(f"{step['state']:10} {name}: {step['message']}")
