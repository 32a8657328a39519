drop table sidecar.progress, sidecar.sidecars, sidecar.wake, sidecar.breakages, sidecar.dead_letters, sidecar.scans,
    sidecar.watches;
drop sequence sidecar.generation;
