"""Usage of nodes and pods: where it is read, as documents, and its history."""
