"""The collector: keeps the store true to every registered cluster (docs/collector.md)."""
