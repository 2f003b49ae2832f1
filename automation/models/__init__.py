"""The tables of automation: tasks, their runs, and what a task remembers of objects."""

from automation.models.tasks import Memory, Run, Task

__all__ = ["Memory", "Run", "Task"]
