-- Statements of rows.py.

-- name: read_rows
-- Primary keys of the user's table, the ledger and the companion; no locks. Runs after the claim, in a snapshot of its own,
-- so that it sees every content that is as old as the claimed generation, or newer.
-- $1 bytes of content for all rows together: rows beyond come without content, to be asked for again, except the first. $2
-- bytes of content for one row: a longer one comes without. $3 whether to read contents, $4 whether to read vectors: a row
-- where that fails is read without. Of a content longer than $5 bytes only the first $6 come, with `whole_hash`, the hash of
-- all of it.
-- `version` names the ledger entry in the snapshot of the content: `complete` replaces exactly this entry. The transaction id
-- alone would not do: after a crash of the server, the id of a transaction that was not flushed is used again. Nor would the
-- number alone: a sidecar of schema 0016 does not change it.
-- Contents are detoasted once, where they are used (`offset 0`); until then they are pointers, with their lengths beside
-- them. A WHERE would be applied too late: the rows behind `offset 0` are computed first.
select s.position, s.found, s.bytes as size_bytes, s.has_vector, s.version, s.content_hash, s.vector_digest, s.truncated, s.unreadable,
       s.digest_matches, c.content, c.whole_hash
from (
    select r.*, sum(least(r.bytes, $2::bigint)) over (order by r.position) as total
    from (
        select u.position, {row_found:t} as found, case when $3 then {bytes:t}::bigint end as bytes, {contents:t},
               {stored_vector} is not null as has_vector, l.xmin || '/' || l.version as version, l.content_hash, l.vector_digest,
               coalesce(l.truncated, false) as truncated, coalesce(l.unreadable, false) as unreadable,
               case when $4 and l.vector_digest is not null and {stored_vector} is not null
                    then sha256({vector_send}({stored_vector})) = l.vector_digest end as digest_matches
        from unnest({keys:7}) with ordinality as u({k}, position)
        left join {table} t on {is_row:t,u}{pruned:t,7}
        {join_vector_table}
        left join {ledger} l on {same:l,u}
        offset 0
    ) r
) s cross join lateral (
    select case when s.bytes > $5::bigint then substring(w.content from 1 for $6::integer) else w.content end as content,
           case when s.bytes > $5::bigint then sha256(w.content) end as whole_hash
    from (select case when s.bytes <= $2::bigint and (s.total <= $1::bigint or s.position = 1) then {taken_content:s} end as content
          offset 0) w
) c
order by s.position

-- name: plan_with_values
-- For statements on a partitioned table: planned with their values, they lock the partitions that hold the rows. A generic
-- plan locks the whole tree, and some thousand partitions fill the server's lock table.
set local plan_cache_mode = force_custom_plan
