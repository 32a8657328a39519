-- Texts that their vectors do not stand for: cut at the end, or in words that the model's tokenizer does not know.

-- Keys whose ledger entry has a flag, in the order of the key. With the caller's rights: the keys of a table are not everybody's.
create or replace function sidecar_internal.texts_with(flag text, relation regclass, target text, max_rows integer) returns table (key jsonb, embedded_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, YMD' set intervalstyle = 'postgres' set timezone = 'UTC' set lc_monetary = 'C' as $$
declare
    w sidecar_internal.watches := sidecar_internal.get_watch(relation, target);
    ledger constant regclass := format('sidecar_internal.ledger_%s', w.id);
begin
    if max_rows < 1 then
        raise exception 'max_rows is %', max_rows using errcode = 'invalid_parameter_value', hint = 'Give a number above 0, or NULL for all.';
    elsif not has_table_privilege(ledger, 'select') then
        raise exception 'permission denied to list rows of %', w.relation using errcode = 'insufficient_privilege',
            hint = format('sidecar.status counts them. To list them, connect as %s, which installed the sidecar, or as a role of a sidecar.',
                          sidecar_internal.installer());
    end if;
    return query execute format('select jsonb_build_object(%s), l.embedded_at from %s l where l.%I and l.content_hash is not null order by %s limit $1',
                                sidecar_internal.key_fields(w, 'l'), ledger, flag, sidecar_internal.for_each_key(w.key_columns, null, 'l.k%1$s'))
        using max_rows;
end $$;

create or replace function sidecar.truncated_texts(relation regclass, target text default null, max_rows integer default 1000)
returns table (key jsonb, embedded_at timestamptz) language sql stable set search_path = pg_catalog, pg_temp as $$
    select t.key, t.embedded_at from sidecar_internal.texts_with('truncated', relation, target, max_rows) t
$$;
comment on function sidecar.truncated_texts is
    'Rows of a watch whose text is longer than the model reads: its end does not affect the vector. In the order of the key, max_rows '
    '(NULL: all) at most.';

create or replace function sidecar.unreadable_texts(relation regclass, target text default null, max_rows integer default 1000)
returns table (key jsonb, embedded_at timestamptz) language sql stable set search_path = pg_catalog, pg_temp as $$
    select t.key, t.embedded_at from sidecar_internal.texts_with('unreadable', relation, target, max_rows) t
$$;
comment on function sidecar.unreadable_texts is
    'Rows of a watch with a text of which the model''s tokenizer knows hardly a word, so that its vector means little. In the order '
    'of the key, at most max_rows (NULL: all).';
