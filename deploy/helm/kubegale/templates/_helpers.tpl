{{- define "kubegale.labels" -}}
app.kubernetes.io/name: kubegale
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: kubegale
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "kubegale.selector" -}}
app.kubernetes.io/name: kubegale
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "kubegale.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "kubegale.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* What is the same in every pod beside its containers. */}}
{{- define "kubegale.pod" -}}
serviceAccountName: {{ .Release.Name }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* What is the same in every container of KubeGale. */}}
{{- define "kubegale.container" -}}
image: {{ include "kubegale.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "kubegale.restricted" . | nindent 2 }}
envFrom:
  - configMapRef: { name: {{ .Release.Name }}-config }
{{- end }}

{{- define "kubegale.env" -}}
- name: POD_IP
  valueFrom: { fieldRef: { fieldPath: status.podIP } }
- name: HOST_NAMES
  valueFrom: { configMapKeyRef: { name: {{ .Release.Name }}-config, key: KUBEGALE_HOSTS } }
- name: ALLOWED_HOSTS
  value: $(HOST_NAMES),$(POD_IP),localhost
- name: TMPDIR
  value: /spool
{{- end }}

{{- define "kubegale.mounts" -}}
- { name: secrets, mountPath: /run/secrets/kubegale, readOnly: true }
- { name: spool, mountPath: /spool }
- { name: tmp, mountPath: /tmp }
{{- end }}

{{- define "kubegale.volumes" -}}
- name: secrets
  secret: { secretName: {{ .Values.existingSecret }}, defaultMode: 0440 }
- name: spool
  emptyDir: { sizeLimit: 8Gi }
- name: tmp
  emptyDir: { sizeLimit: 1Gi }
{{- end }}

{{/* Pods of a new version wait until its migrations are there. */}}
{{- define "kubegale.wait" -}}
- name: migrations
  command: [sh, -c, "until python manage.py migrate --check >/tmp/migrations 2>&1; do tail -n 1 /tmp/migrations; sleep 3; done"]
  {{- include "kubegale.container" . | nindent 2 }}
  resources:
    requests: { cpu: 50m, memory: 192Mi }
    limits: { memory: 384Mi }
  volumeMounts:
    - { name: secrets, mountPath: /run/secrets/kubegale, readOnly: true }
    - { name: tmp, mountPath: /tmp }
{{- end }}

{{/* The settings that the values describe; `config` may say otherwise. */}}
{{- define "kubegale.settings" -}}
KUBEGALE_HOSTS: {{ .Values.host | quote }}
CSRF_TRUSTED_ORIGINS: {{ printf "https://%s" .Values.host | quote }}
WS_BASE_URL: {{ printf "wss://%s" .Values.host | quote }}
BEHIND_TLS_PROXY: "true"
TRUSTED_PROXIES: {{ join "," .Values.trustedProxies | quote }}
FORWARDED_ALLOW_IPS: 127.0.0.1
WEB_CONCURRENCY: {{ .Values.web.concurrency | quote }}
KUBEGALE_MIGRATE: "false"
SECRET_KEY_FILE: /run/secrets/kubegale/SECRET_KEY
FIELD_ENCRYPTION_KEYS_FILE: /run/secrets/kubegale/FIELD_ENCRYPTION_KEYS
DATABASE_URL_FILE: /run/secrets/kubegale/DATABASE_URL
REDIS_URL_FILE: /run/secrets/kubegale/REDIS_URL
{{- if .Values.gateway.enabled }}
GATEWAY_URL: {{ printf "https://%s" .Values.gateway.host | quote }}
{{- end }}
{{- end }}
