-- What cures the rows that failed for a reason: what to change, the statement that finds them, and whether a retry can help.

create or replace function sidecar_internal.advice_on(reason text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case reason
        when 'not_a_picture' then 'Replace the content with a picture, or set it to NULL; the row is then tried again automatically.'
        when 'truncated_picture' then 'The file is cut off or damaged: replace it with the whole file, or set it to NULL; the row is then tried again automatically.'
        when 'unsupported_format' then 'Convert the picture to JPEG or PNG, or set it to NULL; the row is then tried again automatically.'
        when 'too_many_pixels' then 'Scale the picture down, and the row is tried again automatically; or raise MAX_IMAGE_PIXELS, restart the sidecar, and retry.'
        when 'too_many_bytes' then 'Make the content smaller, and the row is tried again automatically; or raise the limit that the message names, restart the sidecar, and retry.'
        when 'decode_timeout' then 'Raise DECODE_TIMEOUT_S, or give the machine more CPUs; restart the sidecar, and retry.'
        when 'decode_crashed' then 'Save the picture again in another program, and the row is tried again automatically; or raise DECODE_MEMORY_BYTES, restart the sidecar, and retry.'
        when 'decode_out_of_memory' then 'Scale the picture down, and the row is tried again automatically; or raise DECODE_MEMORY_BYTES, restart the sidecar, and retry.'
        when 'no_vector' then 'Change the content, and the row is tried again automatically; or set MODEL_PRECISION=fp32, restart the sidecar, and retry.'
        when 'device_out_of_memory' then 'Lower BATCH_MAX_VIEWS, or free memory on the device; restart the sidecar, and retry.'
        when 'device_error' then 'The sidecar''s log has the error of the device: repair its driver or hardware, restart the sidecar, and retry.'
        when 'worker_crashed' then 'The sidecar''s log says what ended it: fix that, and retry.'
        when 'read_rejected' then 'Repair the value, and the row is tried again automatically; or repair the function, view or storage that it comes from, and retry.'
        when 'write_rejected' then 'A constraint, trigger or right of the table refused the vector: change it, and retry.'
        when 'write_suppressed' then 'A BEFORE trigger of the table dropped or changed the write of the vector: change it, and retry.'
        else 'The message says what was wrong: fix that, and retry.' end;
$$;

-- False for content that is no picture, whatever is done about the sidecar, its limits or the table. A new content needs no retry.
create or replace function sidecar_internal.retry_helps(reason text) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select reason not in ('not_a_picture', 'truncated_picture', 'unsupported_format');
$$;

-- The query that shows the rows that failed for a reason: key, the source in short, and the message. It joins the user's table by
-- its primary key. NULL if the table or its key is gone. The source is left out where reading it is what failed.
create or replace function sidecar_internal.rows_statement(w sidecar_internal.watches, reason text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp set quote_all_identifiers = off as $$
declare
    columns constant text[] := array(select a.attname from pg_attribute a where a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped);
    shown text := sidecar_internal.for_each_key(w.key_columns, null, 't.%2$I');
begin
    if not w.key_columns <@ columns then
        return null;
    elsif rows_statement.reason <> 'read_rejected' and w.source <@ columns then
        shown := shown || (select string_agg(format(case w.kind when 'image' then ', octet_length(t.%1$I) as %2$I' else ', left(t.%1$I::text, 80) as %1$I' end,
                                                    s.c, s.c || '_bytes'), '' order by s.i)
                           from unnest(w.source) with ordinality s(c, i) where w.kind = 'image' or s.c <> all (w.key_columns));
    end if;
    return format('select %s, f.message from sidecar.failures f join %s t on %s where f.relation = %L::regclass and f.target = %L and f.reason = %L order by f.at desc;',
                  shown, w.relation,
                  (select string_agg(format(case w.key_types[k.i] when 'jsonb' then 't.%1$I = f.key->%1$L' else 't.%1$I = (f.key->>%1$L)::%2$s' end,
                                            k.c, w.key_types[k.i]), ' and ' order by k.i)
                   from unnest(w.key_columns) with ordinality k(c, i)),
                  w.relation, w.target, rows_statement.reason);
end $$;
