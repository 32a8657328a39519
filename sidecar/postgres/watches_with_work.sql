-- Statements of watches_with_work.py: each covers all watches in one transaction.

-- name: find_work
-- Which of the watches $1 have events to claim, or delayed events that are due. Looks at the front of each queue, above the
-- floors $2 and at the late transactions $3 (see Horizon). Takes ACCESS SHARE locks only, and waits 10 ms for them.
select * from sidecar_internal.find_work($1, $2, $3)

-- name: start_sweeps
-- Starts the sweeps of the watches $1 whose last one ended $2 seconds ago or earlier. Locks only the scans that it starts.
select sidecar_internal.start_sweeps($1, $2)

-- name: delete_tombstones
-- Of the watches $1, up to the floors $2. Index ledger_N_tombstones; skips locked rows.
select * from sidecar_internal.delete_tombstones_v2($1, $2)

-- name: find_unindexed
-- Which of the watches $1 may lack an index.
select * from sidecar_internal.find_unindexed($1)
