-- Statements of ingest/label_keeper.py.

-- name: find_labels
-- The prompts of the watches $1, whose vectors have the fingerprint $2, that this model has not embedded. The table is small.
select l.watch_id, l.label, l.prompt
from sidecar_internal.labels l join sidecar_internal.watches w on w.id = l.watch_id
where l.watch_id = any ($1::integer[]) and w.fingerprint = $2 and l.fingerprint is distinct from w.fingerprint
order by l.watch_id, l.position limit 100

-- name: save_label
-- $1 watch, $2 label, $3 the prompt that was embedded, $4 fingerprint, $5 vector, $6 scale, $7 bias, $8 why there is no vector.
update sidecar_internal.labels l set fingerprint = $4, vector = $5::real[], scale = $6, bias = $7, error = $8
where l.watch_id = $1 and l.label = $2 and l.prompt = $3
