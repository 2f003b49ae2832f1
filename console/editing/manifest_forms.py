"""Forms of the kinds that people create most, and the manifest that a form and a text make.

A form is a view of a manifest: it shows the members that it has inputs for, and writes these
alone. Titles are the names of the members as kubectl and the reference of Kubernetes write them.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from console.editing import container_forms, object_forms, workload_forms
from console.editing.container_forms import ContainerList
from console.editing.form_parts import Form, Section
from console.editing.manifest_inputs import (
    Entered,
    InputError,
    Manifest,
    path_name,
    show,
    write,
)

FORMS: Mapping[str, Form] = {
    "deployments": workload_forms.DEPLOYMENT,
    "statefulsets": workload_forms.STATEFUL_SET,
    "daemonsets": workload_forms.DAEMON_SET,
    "pods": workload_forms.POD,
    "jobs": workload_forms.JOBS,
    "cronjobs": workload_forms.CRON_JOB,
    "services": object_forms.SERVICE,
    "ingresses": object_forms.INGRESS,
    "configmaps": object_forms.CONFIG_MAP,
    "secrets": object_forms.SECRET,
    "persistentvolumeclaims": object_forms.CLAIM,
    "namespaces": object_forms.NAMESPACE,
    "horizontalpodautoscalers": object_forms.AUTOSCALER,
    "serviceaccounts": object_forms.SERVICE_ACCOUNT,
    "roles": object_forms.ROLE,
}


def form_of(manifest: Mapping[str, Any]) -> Form | None:
    """The form of a manifest's kind; None for a kind or version without."""
    for form in FORMS.values():
        if (manifest.get("apiVersion"), manifest.get("kind")) == (form.api_version, form.kind):
            return form
    return None


def show_form(form: Form, manifest: Manifest) -> list[dict[str, Any]]:
    """The sections as the template takes them: {"title", "fields"}; containers come last.

    Those of containers have `list`, `number` and `origin` beside it.
    """
    sections = [_show_section(section, manifest) for section in form.sections]
    for group in show_containers(form, manifest):
        sections += group["sections"]
    return sections


def show_containers(form: Form, manifest: Manifest) -> list[dict[str, Any]]:
    """The lists of containers: {"name", "add", "sections", "blank"}; [] for kinds without pods."""
    groups = []
    for containers in container_forms.read_lists(form.pods, manifest) if form.pods else ():
        sections = [
            _show_container(containers, manifest, number, name)
            for number, name in container_forms.titles(containers, manifest)
        ]
        blank = _show_container(containers, {}, container_forms.BLANK, "")
        groups.append(
            {
                "name": path_name(containers.path),
                "add": containers.add,
                "sections": sections,
                "blank": blank | {"origin": ""},
            }
        )
    return groups


def _show_section(section: Section, manifest: Manifest) -> dict[str, Any]:
    fields = [show(field, manifest) for field in section.inputs]
    return {"title": section.title, "fields": fields}


def _show_container(
    containers: ContainerList, manifest: Manifest, number: int, name: str
) -> dict[str, Any]:
    return {
        **_show_section(containers.section(number, name), manifest),
        "list": containers.name,
        "number": number,
        "origin": str(number),
    }


def merge_form(
    form: Form,
    manifest: Manifest,
    entered: Entered,
) -> tuple[Manifest, Sequence[tuple[str, str]]]:
    """(the manifest with what was entered, [(input's name, what is wrong with it) …])."""
    merged = deepcopy(manifest)
    sections = list(form.sections)
    moved = []
    problems: list[tuple[str, str]] = []
    if form.pods:
        try:
            lists = container_forms.entered_lists(form.pods, merged, entered)
        except InputError as error:
            return merged, [(path_name(form.pods), str(error))]
        for containers in lists:
            sections += [containers.section(number) for number in containers.origins]
            if not container_forms.is_same(containers, merged):
                container_forms.spread(containers, merged)
                moved.append(containers)
    for section in sections:
        for field in section.inputs:
            try:
                write(field, merged, entered)
            except InputError as error:
                problems.append((field.name, str(error)))
    for containers in moved:
        container_forms.gather(containers, merged)
    if not problems:
        problem = form.check(merged)
        problems += [problem] if problem else []
    return merged, problems


def is_renumbered(form: Form, manifest: Manifest, entered: Entered) -> bool:
    """Whether containers were added or taken away: the form is of another manifest then."""
    lists = container_forms.entered_lists(form.pods, manifest, entered) if form.pods else []
    return not all(container_forms.is_same(containers, manifest) for containers in lists)
