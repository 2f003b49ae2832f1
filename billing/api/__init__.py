"""Orders over JSON: for buyers (V-Kube) and for those who look after them (KubeGale)."""
