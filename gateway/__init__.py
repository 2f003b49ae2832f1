"""The gateway: Kubernetes' own API of every cluster, of its past and of the fleet, for kubectl."""
