"""Tenants: namespaces with quotas, members, plans, and their drift and usage."""
