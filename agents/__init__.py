"""The Model Context Protocol for agents: tools over the KubeGale API, with its caller's rights."""
