"""The collector keeps the store's copy of every registered cluster current (docs/collector.md).

1. `process` starts one `Collector` for each process. It takes its share of the clusters by
   `leases` and runs one `cluster_collector` for each cluster that it holds.
2. `cluster_collector` asks the API server which kinds it serves (`discovery`) and starts one
   `reflector` for each kind, in the sense of client-go: list, then watch from that list.
3. A reflector turns each object into the document that is stored (`documents`), or an Event into
   a report (`reports`), and puts it into the cluster's `queue`.
4. The queue is bounded in bytes: when the database is slow, reading from the cluster stops.
5. `writer` commits the queue in batches. Each batch is one transaction that also saves how far
   each watch has come, and fails when another collector has taken over the lease.
6. A heartbeat passes through the same queue: once it is committed, everything that the open
   watches delivered before it is in the store. `services.sync` derives freshness from it.
"""
