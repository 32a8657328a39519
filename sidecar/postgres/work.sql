-- Statements of work.py: one for all watches, in one transaction.

-- name: find_work
-- Which watches have something to claim: one transaction, however many there are. Looks at the front of each queue; takes no
-- locks but ACCESS SHARE, and waits 10 ms for that. $1 watches, $2 their floors, $3 late transactions (see Horizon).
select * from sidecar.find_work($1, $2, $3)

-- name: start_sweeps
-- Starts the hourly sweeps where the last one is over for long enough; locks nothing where none is. $1 watches, $2 seconds.
select sidecar.start_sweeps($1, $2)

-- name: delete_tombstones
-- Of all watches in one transaction: index ledger_N_tombstones; passes by what is locked. $1 watches.
select * from sidecar.delete_tombstones($1, $2)

-- name: find_unindexed
-- Which watches may lack an index: one transaction for all of them. $1 watches.
select * from sidecar.find_unindexed($1)
