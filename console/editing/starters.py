"""Texts to begin with when something is created: small, complete, and taken by any cluster."""

from collections.abc import Callable

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: {namespace}
spec:
  replicas: 2
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
        - name: web
          image: nginx:1.27
          ports:
            - containerPort: 80
          resources:
            requests:
              cpu: 50m
              memory: 64Mi
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: {namespace}
spec:
  selector:
    app: web
  ports:
    - port: 80
      targetPort: 80
"""
INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: {namespace}
spec:
  rules:
    - host: web.example.com
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: web
                port:
                  number: 80
"""
CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  namespace: {namespace}
data:
  key: value
"""
OPAQUE = """\
apiVersion: v1
kind: Secret
metadata:
  name: credentials
  namespace: {namespace}
type: Opaque
stringData:
  password: ""
"""
CRON_JOB = """\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: nightly
  namespace: {namespace}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers:
            - name: job
              image: busybox:1.36
              command: [sh, -c, "date"]
"""
CLAIM = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: data
  namespace: {namespace}
spec:
  accessModes: [ReadWriteOnce]
  resources:
    requests:
      storage: 1Gi
"""
NAMESPACE = """\
apiVersion: v1
kind: Namespace
metadata:
  name: team
"""
STATEFUL_SET = """\
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: store
  namespace: {namespace}
spec:
  replicas: 1
  serviceName: store
  selector:
    matchLabels:
      app: store
  template:
    metadata:
      labels:
        app: store
    spec:
      containers:
        - name: store
          image: redis:7
          ports:
            - containerPort: 6379
          volumeMounts:
            - name: data
              mountPath: /data
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        resources:
          requests:
            storage: 1Gi
"""
DAEMON_SET = """\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: agent
  namespace: {namespace}
spec:
  selector:
    matchLabels:
      app: agent
  template:
    metadata:
      labels:
        app: agent
    spec:
      containers:
        - name: agent
          image: busybox:1.36
          command: [sh, -c, "sleep infinity"]
"""
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: once
  namespace: {namespace}
spec:
  restartPolicy: Never
  containers:
    - name: main
      image: busybox:1.36
      command: [sh, -c, "sleep 600"]
"""
JOB = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: once
  namespace: {namespace}
spec:
  backoffLimit: 3
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: job
          image: busybox:1.36
          command: [sh, -c, "date"]
"""
AUTOSCALER = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: web
  namespace: {namespace}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: web
  minReplicas: 1
  maxReplicas: 5
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: 80
"""
SERVICE_ACCOUNT = """\
apiVersion: v1
kind: ServiceAccount
metadata:
  name: app
  namespace: {namespace}
"""
ROLE = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: reader
  namespace: {namespace}
rules:
  - apiGroups: [""]
    resources: [pods]
    verbs: [get, list, watch]
"""


def _starter(text: str) -> Callable[[str], str]:
    return lambda namespace: text.format(namespace=namespace)


STARTERS: dict[str, Callable[[str], str]] = {
    "deployments": _starter(DEPLOYMENT),
    "statefulsets": _starter(STATEFUL_SET),
    "daemonsets": _starter(DAEMON_SET),
    "pods": _starter(POD),
    "jobs": _starter(JOB),
    "cronjobs": _starter(CRON_JOB),
    "services": _starter(SERVICE),
    "ingresses": _starter(INGRESS),
    "configmaps": _starter(CONFIG_MAP),
    "secrets": _starter(OPAQUE),
    "persistentvolumeclaims": _starter(CLAIM),
    "namespaces": _starter(NAMESPACE),
    "horizontalpodautoscalers": _starter(AUTOSCALER),
    "serviceaccounts": _starter(SERVICE_ACCOUNT),
    "roles": _starter(ROLE),
}
