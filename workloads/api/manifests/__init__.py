"""Many manifests at once: /manifests/…, and one object over clusters: /multicluster/compare."""

from workloads.api.manifests.applying import ApplyManifests
from workloads.api.manifests.checking import DiffManifests, ValidateManifests
from workloads.api.manifests.comparing import CompareObject
from workloads.api.manifests.copying import CopyManifest
from workloads.api.manifests.exporting import ExportManifests

__all__ = [
    "ApplyManifests",
    "CompareObject",
    "CopyManifest",
    "DiffManifests",
    "ExportManifests",
    "ValidateManifests",
]
