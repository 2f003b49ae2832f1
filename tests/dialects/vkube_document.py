"""The examples of the V-Kube document, as published (seed 003); what it masks with x is filled in."""

import json
from typing import Any

ORDER_KEYS = [
    *(
        "createdAt",
        "updatedAt",
        "duration",
        "serviceExpiredDate",
        "amount",
        "amountPaid",
        "serviceID",
        "service",
    ),
    *(
        "serviceCategoryID",
        "provider",
        "address",
        "recipient",
        "id",
        "serviceOptions",
        "status",
        "publicKey",
    ),
]
POD: dict[str, Any] = json.loads("""
{
"name": "71b60598-e000-4000-8000-000000000000-7f44868-s7drh",
"podStatus": {
"phase": "Running",
"conditions": [
{"type": "Initialized", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2021-05-13T08:37:46Z"},
{"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2021-05-13T08:37:52Z"},
{"type": "ContainersReady", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2021-05-13T08:37:52Z"},
{"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2021-05-13T08:37:46Z"}
],
"hostIP": "192.0.2.1",
"podIP": "10.244.9.9",
"podIPs": [{"ip": "10.244.9.9"}],
"startTime": "2021-05-13T08:37:46Z",
"containerStatuses": [
{
"name": "nginx-test",
"state": {"running": {"startedAt": "2021-05-13T08:37:52Z"}},
"lastState": {},
"ready": true,
"restartCount": 0,
"image": "docker.io/library/nginx:latest",
"imageID": "docker.io/library/nginx@sha256:df13abe416e37eb3db4722840dd479b00ba193ac6606e7902331dcea50f4f1f2",
"containerID": "containerd://000000000000000000000061bd12c2c6e50eb86403f",
"started": true
}
],
"qosClass": "Burstable"
},
"podSpec": {
"volumes": [{"name": "default-token-x", "secret": {"secretName": "default-token-x", "defaultMode": 420}}],
"containers": [
{
"name": "nginx-test",
"image": "nginx",
"ports": [{"hostPort": 2999, "containerPort": 80, "protocol": "TCP"}],
"resources": {"limits": {"memory": "2Gi"}, "requests": {"cpu": "513m", "memory": "2Gi"}},
"volumeMounts": [{"name": "default-token-x", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
"terminationMessagePath": "/dev/termination-log",
"terminationMessagePolicy": "File",
"imagePullPolicy": "Always"
}
],
"restartPolicy": "Always",
"terminationGracePeriodSeconds": 30,
"dnsPolicy": "ClusterFirst",
"nodeSelector": {"region": "giltine"},
"serviceAccountName": "default",
"serviceAccount": "default",
"nodeName": "giltine",
"securityContext": {},
"imagePullSecrets": [{"name": "vkube-registry"}],
"schedulerName": "default-scheduler",
"tolerations": [
{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
],
"priority": 0,
"enableServiceLinks": true,
"preemptionPolicy": "PreemptLowerPriority"
},
"annotations": {
"cni.projectcalico.org/podIP": "10.244.9.9/32",
"cni.projectcalico.org/podIPs": "10.244.9.9/32",
"kubernetes.io/egress-bandwidth": "1024M",
"kubernetes.io/ingress-bandwidth": "1024M"
}
}
""")
