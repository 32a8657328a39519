{{/* What all pods have in common: hooks, queries and ingest. */}}

{{- define "sidecar.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.pods.userId | int64 }}
  runAsGroup: {{ .Values.pods.userId | int64 }}
  fsGroup: {{ .Values.pods.userId | int64 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "sidecar.containerBasics" -}}
image: {{ include "sidecar.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* What the process writes to on a root file system that is read-only. */}}
{{- define "sidecar.scratchMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: home, mountPath: /home/sidecar}
{{- end -}}

{{- define "sidecar.scratchVolumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ .Values.pods.scratchSize }}}
- name: home
  emptyDir: {sizeLimit: {{ .Values.pods.scratchSize }}}
{{- end -}}

{{/* A value as the environment has it: true is 1, and a large number is written without an exponent. */}}
{{- define "sidecar.settingValue" -}}
{{- if kindIs "bool" . -}}
{{- ternary "1" "0" . -}}
{{- else if kindIs "float64" . -}}
{{- if eq . (floor .) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{- define "sidecar.env" -}}
{{- $root := .root -}}
{{- $own := dict
      "HOME" "/home/sidecar"
      "HF_HOME" "/models"
      "BIND_HOST" "0.0.0.0"
      "BIND_PORT" 9000
      "SHUTDOWN_TIMEOUT_S" $root.Values.pods.shutdownSeconds
      "REQUIRE_CUDA" (gt (int .values.gpu.count) 0)
      "INGEST" (and (include "sidecar.hasDatabase" $root | eq "true") (or (eq .component "ingest") (not $root.Values.ingest.enabled))) -}}
{{- if gt (int .values.gpu.count) 1 }}{{ $_ := set $own "CUDA_DEVICE" "all" }}{{ end -}}
{{- if include "sidecar.hasDatabase" $root }}{{ $_ := set $own "DATABASE_URL_FILE" "/etc/sidecar/database/DATABASE_URL" }}{{ end -}}
{{- if include "sidecar.hasListenUrl" $root }}{{ $_ := set $own "LISTEN_DATABASE_URL_FILE" "/etc/sidecar/database/LISTEN_DATABASE_URL" }}{{ end -}}
{{- if include "sidecar.hasSearchDatabase" $root }}{{ $_ := set $own "SEARCH_DATABASE_URL_FILE" "/etc/sidecar/search-database/SEARCH_DATABASE_URL" }}{{ end -}}
{{- if $root.Values.apiKeys.anonymous }}{{ $_ := set $own "ALLOW_ANONYMOUS" true }}{{ else }}{{ $_ := set $own "API_KEYS_FILE" "/etc/sidecar/keys/api-keys" }}{{ end -}}
{{- if $root.Values.model.offline }}{{ $_ := set $own "HF_HUB_OFFLINE" true }}{{ end -}}
{{- /* Not merge, for which false and 0 are no values. */}}
{{- range $settings := list $root.Values.settings .values.settings }}
{{- range $name, $value := $settings }}
{{- $_ := set $own $name $value }}
{{- end }}
{{- end }}
{{- include "sidecar.variables" (dict "root" $root "own" $own "token" (include "sidecar.hasToken" $root)) -}}
{{- end -}}

{{/* The variables `own`, the token of Hugging Face, and pods.extraEnv, which replaces those of the same name: of a list with a name twice, an upgrade loses one. */}}
{{- define "sidecar.variables" -}}
{{- $root := .root -}}
{{- $own := .own -}}
{{- $extra := list -}}
{{- range $root.Values.pods.extraEnv }}{{ $extra = append $extra .name }}{{ end -}}
{{- range $name := keys $own | sortAlpha }}
{{- if not (has $name $extra) }}
- name: {{ $name }}
  value: {{ include "sidecar.settingValue" (get $own $name) | quote }}
{{- end }}
{{- end }}
{{- if and .token (not (has "HF_TOKEN" $extra)) }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ default (printf "%s-token" (include "sidecar.fullname" $root)) $root.Values.huggingFace.existingSecret }}
      key: {{ ternary $root.Values.huggingFace.key "HF_TOKEN" (ne $root.Values.huggingFace.existingSecret "") }}
{{- end }}
{{- with $root.Values.pods.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sidecar.modelVolume" -}}
{{- $volume := .Values.model.volume -}}
- name: models
  {{- if has $volume.type (list "claim" "existingClaim") }}
  persistentVolumeClaim:
    claimName: {{ include "sidecar.claimName" . }}
    {{- if $volume.readOnly }}
    readOnly: true
    {{- end }}
  {{- else if eq $volume.type "ephemeral" }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        {{- include "sidecar.claimSpec" . | nindent 8 }}
  {{- else }}
  emptyDir: {sizeLimit: {{ $volume.size }}}
  {{- end }}
{{- end -}}

{{- define "sidecar.claimSpec" -}}
accessModes: {{ toJson .Values.model.volume.accessModes }}
{{- with .Values.model.volume.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests: {storage: {{ .Values.model.volume.size }}}
{{- end -}}
