"""Runs the operations of deployments: a text applied to, or pruned from, its targets."""

from manifest_templates import deployments
from operations.lifecycle import RequeueAfter, Result
from operations.models import Operation
from workloads.manifests import operation as applying


def run(operation: Operation) -> RequeueAfter | Result:
    """As `workloads.manifests.operation.run`; at the end the deployment has what was asked for."""
    outcome = applying.run(operation)
    if not isinstance(outcome, RequeueAfter):
        deployments.settle(operation)
    return outcome
