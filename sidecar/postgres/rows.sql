-- Statements of rows.py.

-- name: read_rows
-- Primary keys of the user's table, the ledger and the companion; no locks. A second statement after the claim, so that it
-- sees every content that is as old as the claimed generation, or newer. $1 bytes that are looked at for the whole answer, $2 bytes
-- of one row: a longer one comes without content. A row beyond $1 comes without content and is asked for again; the first one always
-- comes. Of a content longer than $5 bytes only the first $6 come, and `whole_hash`, the hash of all of it. `version` names the
-- ledger entry in the snapshot that the content is read in: complete replaces this very entry, or none. The transaction alone would
-- not do: after a crash of the server the id of one that was not flushed is given again. The number alone would not either: a
-- sidecar of schema 0016 leaves it as it is. $3 whether to look at contents, $4 at vectors: of a row where this fails the rest
-- is read without. Contents are taken from their place where they are wanted, once (`offset 0`); up to there they are
-- pointers, and their lengths stand beside these. A WHERE would be heeded too late: behind `offset 0` its rows are made first.
select s.position, s.found, s.bytes as size_bytes, s.has_vector, s.version, s.content_hash, s.vector_digest, s.truncated, s.unreadable,
       s.digest_matches, c.content, c.whole_hash
from (
    select r.*, sum(least(r.bytes, $2::bigint)) over (order by r.position) as total
    from (
        select u.position, {row_found:t} as found, case when $3 then {bytes:t}::bigint end as bytes, {contents:t},
               {home_target} is not null as has_vector, l.xmin || '/' || l.version as version, l.content_hash, l.vector_digest,
               coalesce(l.truncated, false) as truncated, coalesce(l.unreadable, false) as unreadable,
               case when $4 and l.vector_digest is not null and {home_target} is not null
                    then sha256({vector_send}({home_target})) = l.vector_digest end as digest_matches
        from unnest({keys:7}) with ordinality as u({k}, position)
        left join {table} t on {is_row:t,u}{pruned:t,7}
        {join_home}
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
-- For statements on a partitioned table: planned with the values, they lock the partitions that hold the rows; a plan for all
-- values locks the whole tree, and with some thousand partitions fills the server's lock table.
set local plan_cache_mode = force_custom_plan
