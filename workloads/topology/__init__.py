"""What belongs together in a namespace, as a graph.

How requests come in, which workloads and nodes run them, with which configuration and volumes.
"""
