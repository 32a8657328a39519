{{/* Contradictions that values.schema.json cannot say. */}}
{{- define "sidecar.check" -}}
{{- if not (or .Values.queries.enabled .Values.ingest.enabled) -}}
{{- fail "queries.enabled and ingest.enabled are both false: nothing would run. Set one of them to true." -}}
{{- end -}}
{{- if and .Values.ingest.enabled (not (include "sidecar.hasDatabase" .)) -}}
{{- fail "ingest.enabled is true, but there is no database: set database.existingSecret, or database.url." -}}
{{- end -}}
{{- if and .Values.database.url .Values.database.existingSecret -}}
{{- fail (printf "database.url and database.existingSecret (%s) are both set: which one is meant? Remove the other." .Values.database.existingSecret) -}}
{{- end -}}
{{- if and (include "sidecar.hasSearchDatabase" .) (not (include "sidecar.hasDatabase" .)) -}}
{{- fail "searchDatabase names a standby, but there is no database: set database.existingSecret, or database.url." -}}
{{- end -}}
{{- if and .Values.searchDatabase.url .Values.searchDatabase.existingSecret -}}
{{- fail (printf "searchDatabase.url and searchDatabase.existingSecret (%s) are both set: remove one of them." .Values.searchDatabase.existingSecret) -}}
{{- end -}}
{{- if and .Values.migrate.database.url .Values.migrate.database.existingSecret -}}
{{- fail (printf "migrate.database.url and migrate.database.existingSecret (%s) are both set: remove one of them." .Values.migrate.database.existingSecret) -}}
{{- end -}}
{{- if and .Values.database.listenUrl .Values.database.existingSecret -}}
{{- fail "database.listenUrl belongs to database.url. With database.existingSecret, put the direct URL into that Secret and set database.listenKey." -}}
{{- end -}}
{{- if and .Values.database.listenKey (not .Values.database.existingSecret) -}}
{{- fail "database.listenKey is a key of database.existingSecret, which is not set. With database.url, set database.listenUrl." -}}
{{- end -}}
{{- $keys := or .Values.apiKeys.keys .Values.apiKeys.existingSecret -}}
{{- if and $keys .Values.apiKeys.anonymous -}}
{{- fail "apiKeys.anonymous is true, but there are keys (apiKeys.keys, apiKeys.existingSecret): with keys nobody is served without one. Remove either." -}}
{{- end -}}
{{- if not (or $keys .Values.apiKeys.anonymous) -}}
{{- fail "Whom to serve? Set apiKeys.existingSecret (a Secret with keys, one a line), or apiKeys.anonymous=true for everyone who can reach the port. docs/security.md explains keys." -}}
{{- end -}}
{{- if and .Values.apiKeys.keys .Values.apiKeys.existingSecret -}}
{{- fail (printf "apiKeys.keys and apiKeys.existingSecret (%s) are both set: put the keys into that Secret, or remove it." .Values.apiKeys.existingSecret) -}}
{{- end -}}
{{- $volume := .Values.model.volume -}}
{{- if and (eq $volume.type "existingClaim") (not $volume.existingClaim) -}}
{{- fail "model.volume.type is existingClaim, but model.volume.existingClaim is empty: name the claim." -}}
{{- end -}}
{{- $pods := 0 -}}
{{- $surge := false -}}
{{- range $component := list .Values.queries .Values.ingest -}}
{{- if $component.enabled -}}
{{- $scaling := default (dict) $component.autoscaling -}}
{{- $pods = add $pods (ternary (get $scaling "maxReplicas") $component.replicas (default false (get $scaling "enabled"))) -}}
{{- if ne (toString $component.updateStrategy.maxSurge) "0" }}{{ $surge = true }}{{ end -}}
{{- if and (eq (toString $component.updateStrategy.maxSurge) "0") (eq (toString $component.updateStrategy.maxUnavailable) "0") -}}
{{- fail "updateStrategy.maxSurge and updateStrategy.maxUnavailable are both 0: no pod could ever be replaced. Set one of them to 1." -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $volume.type "claim") (not (or (has "ReadWriteMany" $volume.accessModes) (has "ReadOnlyMany" $volume.accessModes))) (or (gt (int $pods) 1) $surge) -}}
{{- fail (printf "model.volume: up to %d pods would share one claim with accessModes %s, which one node at a time can mount. Set accessModes to [ReadWriteMany] where the storage has it, or type to ephemeral or emptyDir, so that each pod has a volume of its own." (int (ternary (add $pods 1) $pods $surge)) (toJson $volume.accessModes)) -}}
{{- end -}}
{{- $scaling := .Values.ingest.autoscaling -}}
{{- if and .Values.ingest.enabled $scaling.enabled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- fail (printf "ingest.autoscaling.minReplicas (%d) is above maxReplicas (%d)." (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- if and $scaling.enabled (not .Values.ingest.enabled) -}}
{{- fail "ingest.autoscaling.enabled is true, but ingest.enabled is not: only a Deployment of its own can be scaled to zero." -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled $keys (not .Values.metrics.serviceMonitor.keySecret) -}}
{{- fail "metrics.serviceMonitor.keySecret: /metrics asks for a key of scope admin. Name a Secret that holds one, alone." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.enabled is true, but ingress.hosts is empty: name the hosts." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.queries.enabled) -}}
{{- fail "ingress.enabled is true, but queries.enabled is not: nothing would answer." -}}
{{- end -}}
{{- end -}}
