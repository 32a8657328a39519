{{/* Which Secrets there are, and which entries of them are used. */}}

{{- define "sidecar.hasDatabase" -}}
{{- if or .Values.database.url .Values.database.existingSecret }}true{{ end -}}
{{- end -}}

{{- define "sidecar.hasListenUrl" -}}
{{- if or .Values.database.listenKey .Values.database.listenUrl }}true{{ end -}}
{{- end -}}

{{- define "sidecar.databaseSecret" -}}
{{- default (printf "%s-database" (include "sidecar.fullname" .)) .Values.database.existingSecret -}}
{{- end -}}

{{- define "sidecar.databaseKey" -}}
{{- ternary .Values.database.key "DATABASE_URL" (ne .Values.database.existingSecret "") -}}
{{- end -}}

{{- define "sidecar.listenKey" -}}
{{- ternary .Values.database.listenKey "LISTEN_DATABASE_URL" (ne .Values.database.existingSecret "") -}}
{{- end -}}

{{- define "sidecar.hasSearchDatabase" -}}
{{- if or .Values.searchDatabase.url .Values.searchDatabase.existingSecret }}true{{ end -}}
{{- end -}}

{{/* The URL of `sidecar migrate` if it is a value: then a Secret is made for the hook, before which no other object exists. */}}
{{- define "sidecar.migrateUrl" -}}
{{- if .Values.migrate.database.url -}}
{{- .Values.migrate.database.url -}}
{{- else if not .Values.migrate.database.existingSecret -}}
{{- default .Values.database.url .Values.database.listenUrl -}}
{{- end -}}
{{- end -}}

{{- define "sidecar.migrateSecret" -}}
{{- if include "sidecar.migrateUrl" . -}}
{{- include "sidecar.fullname" . }}-migrate
{{- else -}}
{{- default .Values.database.existingSecret .Values.migrate.database.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "sidecar.migrateKey" -}}
{{- if include "sidecar.migrateUrl" . -}}
DATABASE_URL
{{- else if .Values.migrate.database.existingSecret -}}
{{- .Values.migrate.database.key -}}
{{- else -}}
{{- default .Values.database.key .Values.database.listenKey -}}
{{- end -}}
{{- end -}}

{{- define "sidecar.keysSecret" -}}
{{- default (printf "%s-keys" (include "sidecar.fullname" .)) .Values.apiKeys.existingSecret -}}
{{- end -}}

{{- define "sidecar.keysKey" -}}
{{- ternary .Values.apiKeys.key "api-keys" (ne .Values.apiKeys.existingSecret "") -}}
{{- end -}}

{{- define "sidecar.hasToken" -}}
{{- if or .Values.huggingFace.existingSecret .Values.huggingFace.token }}true{{ end -}}
{{- end -}}

{{/* The URLs as files, DATABASE_URL and, if there is one, LISTEN_DATABASE_URL. */}}
{{- define "sidecar.databaseVolume" -}}
- name: database
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items:
      - {key: {{ .key }}, path: DATABASE_URL}
      {{- if .listenKey }}
      - {key: {{ .listenKey }}, path: LISTEN_DATABASE_URL}
      {{- end }}
{{- end -}}
