{{- define "hydraulic.selector" -}}
app.kubernetes.io/name: mlflow-hydraulic
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "hydraulic.metadata" -}}
name: {{ .root.Release.Name }}-{{ .name | default .component }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels:
  {{- include "hydraulic.selector" . | nindent 2 }}
  app.kubernetes.io/part-of: mlflow-hydraulic
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "hydraulic.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end }}

{{/* What every pod has: who it is on the node, where it may run, what image it is pulled with. */}}
{{- define "hydraulic.pod" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 8888
  runAsGroup: 8888
  fsGroup: 8888
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "hydraulic.container" -}}
image: {{ include "hydraulic.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  privileged: false
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Replicas on different nodes where that is possible. */}}
{{- define "hydraulic.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "hydraulic.selector" . | nindent 8 }}
{{- end }}

{{/* Variables of every process of ours. */}}
{{- define "hydraulic.env" -}}
- name: HYDRAULIC_CONFIG
  value: /etc/hydraulic/hydraulic.toml
- name: HYDRAULIC_HOME
  value: /var/lib/hydraulic
- name: HOME
  value: /tmp
- name: MLFLOW_DISABLE_TELEMETRY
  value: "true"
- name: HYDRAULIC_DATABASE
  valueFrom:
    secretKeyRef: {name: {{ .Values.database.secretName }}, key: {{ .Values.database.key }}}
{{- end }}

{{/* Variables of what calls the MLflow server. */}}
{{- define "hydraulic.clientEnv" -}}
- name: MLFLOW_TRACKING_URI
  value: {{ include "hydraulic.serverUrl" . }}
{{- if .Values.auth.enabled }}
- name: MLFLOW_TRACKING_USERNAME
  valueFrom:
    secretKeyRef: {name: {{ .Values.auth.clientSecretName }}, key: username}
- name: MLFLOW_TRACKING_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.auth.clientSecretName }}, key: password}
{{- end }}
{{- end }}

{{- define "hydraulic.serverUrl" -}}
http://{{ .Release.Name }}-server.{{ .Release.Namespace }}.svc:5000
{{- end }}

{{- define "hydraulic.intakeUrl" -}}
http://{{ .Release.Name }}-intake.{{ .Release.Namespace }}.svc:{{ .Values.intake.port }}/events
{{- end }}

{{/* One option as TOML: JSON's texts, numbers, booleans and lists are TOML's too. */}}
{{- define "hydraulic.tomlLine" -}}
{{ .key }} = {{ toJson .value }}
{{- end }}

{{/* The options of an environment, with what the chart knows better. Context: root, environment. */}}
{{- define "hydraulic.options" -}}
{{- $options := deepCopy (.environment.options | default dict) -}}
{{- $shape := $options.shape | default "seldon" -}}
{{- if and .root.Values.intake.enabled (not .root.Values.intake.tokenSecretName) (ne $shape "plain") (not (hasKey $options "logger_url")) -}}
{{- $_ := set $options "logger_url" (include "hydraulic.intakeUrl" .root) -}}
{{- end -}}
{{- if not (hasKey $options "tracking_uri") -}}
{{- $_ := set $options "tracking_uri" (include "hydraulic.serverUrl" .root) -}}
{{- end -}}
{{- if and .root.Values.auth.enabled (eq ($options.server | default "scorer") "scorer") (ne ($options.delivery | default "mlflow") "initializer") -}}
{{- $secret := .root.Values.auth.modelSecretName -}}
{{- $login := dict "MLFLOW_TRACKING_USERNAME" (printf "%s/username" $secret) "MLFLOW_TRACKING_PASSWORD" (printf "%s/password" $secret) -}}
{{- $_ := set $options "secret_env" (merge dict ($options.secret_env | default dict) $login) -}}
{{- end -}}
{{- toJson $options -}}
{{- end }}

{{- define "hydraulic.dns" -}}
- to:
    - namespaceSelector: {}
      podSelector: {matchLabels: {k8s-app: kube-dns}}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{/* One egress rule: peers and TCP ports. */}}
{{- define "hydraulic.egress" -}}
- to:
    {{- toYaml .peers | nindent 4 }}
  ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}

{{/* The names under which the server may be called: the Service's, a port-forward's, and what was given. */}}
{{- define "hydraulic.allowedHosts" -}}
{{- $name := printf "%s-server" .Release.Name -}}
{{- $names := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- $hosts := list "localhost:*" "127.0.0.1:*" -}}
{{- range $names }}{{ $hosts = concat $hosts (list . (printf "%s:5000" .)) }}{{ end -}}
{{- concat $hosts .Values.server.allowedHosts | join "," -}}
{{- end }}
