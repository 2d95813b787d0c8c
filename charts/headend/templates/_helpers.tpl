{{- define "headend.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "headend.labels" -}}
app.kubernetes.io/name: headend
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "headend.selector" -}}
app.kubernetes.io/name: headend
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "headend.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{- define "headend.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .Values.podSecurity.user }}
runAsGroup: {{ .Values.podSecurity.user }}
fsGroup: {{ .Values.podSecurity.user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "headend.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "headend.outputClaim" -}}
{{ .Values.output.existingClaim | default (printf "%s-output" (include "headend.name" .)) }}
{{- end -}}

{{- define "headend.keysSecret" -}}
{{ .Values.keys.existingSecret | default (printf "%s-keys" (include "headend.name" .)) }}
{{- end -}}

{{- define "headend.operatorKeysSecret" -}}
{{ .Values.operator.existingKeysSecret | default (printf "%s-operator-keys" (include "headend.name" .)) }}
{{- end -}}

{{- define "headend.redisSecret" -}}
{{ .Values.redis.existingSecret | default (printf "%s-redis" (include "headend.name" .)) }}
{{- end -}}

{{- define "headend.redisHasPassword" -}}
{{- if or .Values.redis.enabled .Values.redis.existingSecret }}true{{ end -}}
{{- end -}}

{{- define "headend.redisUrl" -}}
{{- if .Values.redis.enabled -}}
redis://{{ include "headend.name" . }}-redis:6379/0
{{- else -}}
{{ required "redis.url is needed when redis.enabled is false" .Values.redis.url }}
{{- end -}}
{{- end -}}

{{/* Environment of every process of ours. */}}
{{- define "headend.commonEnvironment" -}}
- name: HEADEND_LOG
  value: {{ .Values.log.filter | quote }}
- name: HEADEND_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
- name: HEADEND_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: HEADEND_INSTANCE
  value: {{ .Release.Name | quote }}
{{- end -}}

{{/* Environment of the processes that have a part in a start. */}}
{{- define "headend.traceEnvironment" -}}
{{- with .Values.tracing.otlpEndpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Environment of the processes that ask who is watching. */}}
{{- define "headend.presenceEnvironment" -}}
- name: HEADEND_REDIS_URL
  value: {{ include "headend.redisUrl" . | quote }}
{{- if include "headend.redisHasPassword" . }}
- name: HEADEND_REDIS_PASSWORD_FILE
  value: /etc/headend/redis/password
{{- end }}
{{- end -}}

{{- define "headend.adminProbes" -}}
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 2
  failureThreshold: 1
{{- end -}}

{{/* Keeps what uses a one-node volume on one node. */}}
{{- define "headend.outputAffinity" -}}
{{- if eq .Values.output.accessMode "ReadWriteOnce" }}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            app.kubernetes.io/instance: {{ .Release.Name }}
            headend.dev/output-volume: "true"
{{- end }}
{{- end -}}
