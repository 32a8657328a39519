-- Labels of watches, and the vectors of their prompts. `fingerprint` is that of the model that embedded the prompt; a label counts
-- only while the vectors of the watch are of the same model. `scale` and `bias` are the model's own; NULL: it has none.
create table sidecar_internal.labels (
    watch_id integer not null references sidecar_internal.watches on delete cascade,
    label text not null,
    position integer not null,
    prompt text not null,
    fingerprint text,
    vector real[],
    scale double precision,
    bias double precision,
    error text,
    primary key (watch_id, label)
);
alter table sidecar_internal.labels alter column vector set storage external;
