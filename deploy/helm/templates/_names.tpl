{{- define "sidecar.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "sidecar.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "sidecar.name" .) .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "sidecar.name" .) | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of a component's objects. The queries have the release's own. */}}
{{- define "sidecar.componentName" -}}
{{- $name := include "sidecar.fullname" .root -}}
{{- if eq .component "queries" }}{{ $name }}{{ else }}{{ $name }}-{{ .component }}{{ end -}}
{{- end -}}

{{- define "sidecar.selector" -}}
app.kubernetes.io/name: {{ include "sidecar.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of an object. Those of its pods leave the version out of the selector. */}}
{{- define "sidecar.labels" -}}
{{ include "sidecar.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "sidecar.image" -}}
{{- $repository := required "image.repository: name the registry and repository that you pushed the image to; docs/containers.md says how to build it" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "sidecar.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "sidecar.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "sidecar.claimName" -}}
{{- if eq .Values.model.volume.type "existingClaim" -}}
{{- .Values.model.volume.existingClaim -}}
{{- else -}}
{{- include "sidecar.fullname" . }}-models
{{- end -}}
{{- end -}}
