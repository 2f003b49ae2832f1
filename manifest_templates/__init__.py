"""Templates of manifests: their versions, how they are rendered, and what was deployed of them."""
