-- Where the sequence of generations stood when results of a watch were last recorded. A sidecar that starts compares the two, where it
-- had to read the whole ledger. NULL: not known, and the ledger is read. So it is if a sidecar of the version before has recorded
-- results since: it sets updated_at alone.
alter table sidecar_internal.progress add column drawn bigint, add column drawn_at timestamptz;
