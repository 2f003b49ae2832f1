"""The tables of automation: tasks, their runs, and what they remember and leave behind."""

from automation.models.records import InspectionPart, NamespaceArchive
from automation.models.tasks import Memory, Run, Task

__all__ = ["InspectionPart", "Memory", "NamespaceArchive", "Run", "Task"]
