-- What a watch leaves in users' schemas: vectors, indexes, a former home, grants. Each with the statement that removes it.

-- The vectors of a watch in one place, and every index on them; none where the column or the table is gone.
create or replace function sidecar_internal.remains_in(w sidecar_internal.watches, home regclass) returns table (what text, statement text)
language plpgsql stable set search_path = pg_catalog, pg_temp set quote_all_identifiers = off as $$
declare
    vectors record;
begin
    select a.attnum, c.relkind into vectors from pg_attribute a join pg_class c on c.oid = a.attrelid
        where a.attrelid = home and a.attname = w.target and not a.attisdropped and sidecar_internal.storage_of(home, w.target) is not null;
    if not found then
        return;
    end if;
    return query
        select format('index %s', i.indexrelid::regclass),
               format(case vectors.relkind when 'p' then 'drop index if exists %s;' else 'drop index concurrently if exists %s;' end, i.indexrelid::regclass)
            from pg_index i
            where i.indrelid = home and exists (
                select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                    and d.refclassid = 'pg_class'::regclass and d.refobjid = home and d.refobjsubid = vectors.attnum)
            order by i.indexrelid::regclass::text;
    if home = w.relation then
        return query select format('column %s.%I with its vectors', home, w.target), format('alter table %s drop column %I;', home, w.target);
    else
        return query select format('table %s with its vectors', home), format('drop table %s;', home);
    end if;
end $$;

-- All that stays of a watch that ends, in an order in which the statements can be run. `with_all`: every other watch ends, too,
-- so no right is left that one of them needs.
create or replace function sidecar_internal.remains_of(w sidecar_internal.watches, with_all boolean default false) returns table (what text, statement text)
language plpgsql stable set search_path = pg_catalog, pg_temp set quote_all_identifiers = off as $$
declare
    present constant regclass := coalesce(w.companion, w.relation);
begin
    if sidecar_internal.has_view(w) then
        return query select format('view %s', w.companion_view), format('drop view %s;', w.companion_view);
    end if;
    return query select r.* from sidecar_internal.remains_in(w, present) r;
    if w.moved_from <> present then
        return query select r.* from sidecar_internal.remains_in(w, w.moved_from) r;
    end if;
    return query
        select format('USAGE on schema %I for role %s', n.nspname, a.grantee::regrole), format('revoke usage on schema %I from %s;', n.nspname, a.grantee::regrole)
        from pg_namespace n cross join aclexplode(n.nspacl) a
        where n.oid in (select c.relnamespace from pg_class c where c.oid in (w.relation, w.companion))
          and a.privilege_type = 'USAGE' and a.grantee <> n.nspowner
          and a.grantee in (select r.role from sidecar_internal.roles() r where r.kind = 'worker' union select sidecar_internal.installer())
          and (with_all or not exists (
              select from sidecar_internal.watches x join pg_class c on c.oid in (x.relation, x.companion)
              where x.id <> w.id and x.unwatched_at is null and c.relnamespace = n.oid))
        order by 1;
end $$;

-- The same for all watches, those that have ended too, and for the extension, which `sidecar migrate` creates where it is missing.
create or replace function sidecar_internal.remains_of_all() returns table (what text, statement text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    with remains as (
        select r.what, r.statement, min(w.id * 1000 + r.number) as place
            from sidecar_internal.watches w cross join lateral sidecar_internal.remains_of(w, true) with ordinality r(what, statement, number)
            where exists (select from pg_class c where c.oid = w.relation)
            group by r.what, r.statement
    )
    select s.what, s.statement from (
        select r.what, r.statement, r.place from remains r
        union all
        select 'extension vector (others may use it)', 'drop extension vector;', 9223372036854775807
            from pg_extension e where e.extname = 'vector') s
        order by s.place;
$$;

-- Raises a NOTICE for each of the remains of a watch that was ended.
create or replace function sidecar_internal.report_remains(w sidecar_internal.watches) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    remains record;
begin
    for remains in select r.what, r.statement from sidecar_internal.remains_of(w) r loop
        raise notice '% stays', remains.what using hint = 'To remove it: ' || remains.statement;
    end loop;
end $$;
