"""`make screenshots`: the pictures of docs/images, taken anew of a KubeGale that runs for them."""
