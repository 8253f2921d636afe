{{- define "sabre.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sabre.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- with $registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end -}}
{{- end -}}

{{/* Called with (dict "root" $ "component" "query"). */}}
{{- define "sabre.selector" -}}
app.kubernetes.io/name: sabre
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "sabre.labels" -}}
{{ include "sabre.selector" . }}
app.kubernetes.io/part-of: sabre
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Called with (dict "root" $ "component" "query" "values" .Values.query). */}}
{{- define "sabre.account" -}}
{{- if .values.serviceAccount.create -}}
{{ default (printf "%s-%s" (include "sabre.fullname" .root) .component) .values.serviceAccount.name }}
{{- else -}}
{{ default "default" .values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- define "sabre.objstoreSecret" -}}
{{ default (printf "%s-objstore" (include "sabre.fullname" .)) .Values.existingObjstoreSecret }}
{{- end -}}

{{- define "sabre.objstoreVolume" -}}
- name: objstore
  secret:
    secretName: {{ include "sabre.objstoreSecret" . }}
    {{- with .Values.existingObjstoreSecretItems }}
    items:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end -}}

{{/* A security context without what is not Kubernetes': nothing if `enabled` is false, and no entries that were taken away. */}}
{{- define "sabre.securityContext" -}}
{{- if ne (toString .enabled) "false" -}}
{{- $context := dict -}}
{{- range $key, $value := omit . "enabled" -}}
{{- if not (kindIs "invalid" $value) -}}{{- $_ := set $context $key $value -}}{{- end -}}
{{- end -}}
{{- with $context -}}{{- toYaml . -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Secrets for pulling images, of both places where charts have them, as entries of a list. */}}
{{- define "sabre.pullSecrets" -}}
{{- $names := list -}}
{{- range concat (default list .Values.global.imagePullSecrets) (default list .Values.image.pullSecrets) -}}
{{- $name := . -}}
{{- if kindIs "map" . -}}{{- $name = .name -}}{{- end -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- range uniq $names }}
- name: {{ . }}
{{- end -}}
{{- end -}}

{{/* What all pods have before their containers. */}}
{{- define "sabre.pod" -}}
serviceAccountName: {{ include "sabre.account" . }}
automountServiceAccountToken: false
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
{{- with include "sabre.pullSecrets" .root }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" }}
{{- with index $.values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- range $key := list "priorityClassName" "schedulerName" }}
{{- with index $.values $key }}
{{ $key }}: {{ . }}
{{- end }}
{{- end }}
{{- range $key := list "hostAliases" "initContainers" }}
{{- with index $.values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with include "sabre.securityContext" .values.podSecurityContext }}
securityContext:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What all containers have besides name, arguments, ports and mounts. */}}
{{- define "sabre.container" -}}
image: {{ include "sabre.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- with .values.extraEnvVars }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .values.extraEnvVarsCM .values.extraEnvVarsSecret }}
envFrom:
  {{- with .values.extraEnvVarsCM }}
  - configMapRef:
      name: {{ . }}
  {{- end }}
  {{- with .values.extraEnvVarsSecret }}
  - secretRef:
      name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.lifecycleHooks }}
lifecycle:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $probe, $path := dict "livenessProbe" "/-/healthy" "readinessProbe" "/-/ready" "startupProbe" "/-/ready" }}
{{- $settings := index $.values $probe }}
{{- $custom := index $.values (printf "custom%s" (title $probe)) }}
{{- if $custom }}
{{ $probe }}:
  {{- toYaml $custom | nindent 2 }}
{{- else if and $settings (ne (toString $settings.enabled) "false") }}
{{ $probe }}:
  {{- if and $.root.Values.auth.basicAuthUsers (not $.root.Values.existingHttpConfigSecret) }}
  # With passwords the kubelet may only look whether the port is open.
  tcpSocket:
    port: http
  {{- else }}
  httpGet:
    path: {{ $path }}
    port: http
    {{- if $.root.Values.https.enabled }}
    scheme: HTTPS
    {{- end }}
  {{- end }}
  {{- toYaml (omit $settings "enabled") | nindent 2 }}
{{- end }}
{{- end }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
{{- with include "sabre.securityContext" .values.containerSecurityContext }}
securityContext:
  {{- . | nindent 2 }}
{{- end }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{/* Flags that several components have: TLS and passwords of HTTP, TLS of the gRPC server, and what the user adds. */}}
{{- define "sabre.sharedFlags" -}}
{{- if include "sabre.hasHttpConfig" .root }}
- --http.config=/conf/http/http-config.yml
{{- end }}
{{- $grpc := dig "grpc" "server" "tls" dict .values }}
{{- if $grpc.enabled }}
- --grpc-server-tls-cert=/certs/grpc/{{ default "tls.crt" $grpc.certFilename }}
- --grpc-server-tls-key=/certs/grpc/{{ default "tls.key" $grpc.keyFilename }}
{{- if $grpc.clientAuthEnabled }}
- --grpc-server-tls-client-ca=/certs/grpc/{{ default "ca.crt" $grpc.caFilename }}
{{- end }}
{{- end }}
{{- range .values.extraFlags }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "sabre.hasHttpConfig" -}}
{{- if or .Values.existingHttpConfigSecret .Values.httpConfig .Values.https.enabled .Values.auth.basicAuthUsers }}yes{{ end -}}
{{- end -}}

{{- define "sabre.sharedMounts" -}}
{{- if include "sabre.hasHttpConfig" .root }}
- name: http-config
  mountPath: /conf/http
  readOnly: true
{{- end }}
{{- if .root.Values.https.enabled }}
- name: http-certs
  mountPath: /certs/http
  readOnly: true
{{- end }}
{{- if (dig "grpc" "server" "tls" dict .values).enabled }}
- name: grpc-certs
  mountPath: /certs/grpc
  readOnly: true
{{- end }}
{{- with .values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sabre.sharedVolumes" -}}
{{- if include "sabre.hasHttpConfig" .root }}
- name: http-config
  secret:
    secretName: {{ default (printf "%s-http-config" (include "sabre.fullname" .root)) .root.Values.existingHttpConfigSecret }}
{{- end }}
{{- if .root.Values.https.enabled }}
- name: http-certs
  secret:
    secretName: {{ required "https.existingSecret is missing: the Secret with tls.crt and tls.key" .root.Values.https.existingSecret }}
{{- end }}
{{- $grpc := dig "grpc" "server" "tls" dict .values }}
{{- if $grpc.enabled }}
- name: grpc-certs
  secret:
    secretName: {{ required "grpc.server.tls.existingSecret is missing: the Secret with tls.crt and tls.key" $grpc.existingSecret }}
{{- end }}
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sabre.claim" -}}
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata:
    name: data
    {{- with .values.persistence.annotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    accessModes: {{ toJson (default (list "ReadWriteOnce") .values.persistence.accessModes) }}
    {{- with default .root.Values.global.storageClass .values.persistence.storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ .values.persistence.size }}
{{- end -}}

{{/* The stores as JSON: {"shards": [{"suffix": "-0", "flags": [...]}]}. */}}
{{- define "sabre.shards" -}}
{{- $shards := list -}}
{{- $times := list (dict "min" "" "max" "") -}}
{{- $count := 1 -}}
{{- if .Values.storegateway.sharded.enabled -}}
{{- $count = max 1 (int .Values.storegateway.sharded.hashPartitioning.shards) -}}
{{- with .Values.storegateway.sharded.timePartitioning -}}{{- $times = . -}}{{- end -}}
{{- end -}}
{{- range $time := $times -}}
{{- range $hash := until (int $count) -}}
{{- $flags := list -}}
{{- with $time.min }}{{- $flags = append $flags (printf "--min-time=%s" .) -}}{{- end -}}
{{- with $time.max }}{{- $flags = append $flags (printf "--max-time=%s" .) -}}{{- end -}}
{{- if gt (int $count) 1 -}}
{{- $rule := printf "--selector.relabel-config=\n- action: hashmod\n  source_labels: [\"__block_id\"]\n  target_label: shard\n  modulus: %d\n- action: keep\n  source_labels: [\"shard\"]\n  regex: %d\n" (int $count) $hash -}}
{{- $flags = append $flags $rule -}}
{{- end -}}
{{- $suffix := "" -}}
{{- if $.Values.storegateway.sharded.enabled -}}{{- $suffix = printf "-%d" (len $shards) -}}{{- end -}}
{{- $shards = append $shards (dict "suffix" $suffix "flags" $flags) -}}
{{- end -}}
{{- end -}}
{{- dict "shards" $shards | toJson -}}
{{- end -}}
