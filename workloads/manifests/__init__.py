"""Texts of many manifests: validate, compare with a cluster, apply, export and copy them."""
