-- The tables that sinks of type "postgres" write to: schema version 1, for Postgres 13 or newer.
--
--     edge-outbox config sql | psql -v ON_ERROR_STOP=1 postgres://OWNER@HOST/DATABASE
--
-- Run it as the role that shall own the tables. It is one transaction and may be run again at any
-- time: what is there already stays as it is. The tables are made in the first schema of the search
-- path; to put them elsewhere, set PGOPTIONS="--search_path=NAME" for psql, and `schema = "NAME"` in
-- the devices' configuration.
--
-- What a device may do. It needs no right to read a payload, to change a row or to remove one:
--
--     create role kiosks login password '...';
--     grant insert on device_events to kiosks;
--     grant select (device, epoch, seq, digest) on device_events to kiosks;
--     grant select on edge_outbox_schema to kiosks;
--
-- Devices that share one role have to trust each other. Whoever saw an event on its way (by another
-- sink, say) could be there first with its key and another content, and then the true one counts as
-- a repeat of that; and a row under the name of another device makes that device begin a new epoch.
-- Neither is possible where each device has a role of its own, with its own name and in the role
-- `kiosks`, and sees and makes no rows but its own:
--
--     alter table device_events enable row level security;
--     create policy own_rows_in on device_events for insert to kiosks with check (device = current_user);
--     create policy own_rows_out on device_events for select to kiosks using (device = current_user);
--
-- The owner of the tables is not bound by that; another role that reads them needs a policy of its
-- own. A pooler that logs in as one role for all devices takes the difference away again.
--
-- Size: about 700 bytes and the payload twice (exact and as jsonb, both compressed from 2 kB on) for
-- an event, and some 150 bytes in the indexes. A million events with payloads of 256 bytes take about
-- 1.2 GB.
--
-- From some tens of millions of rows on, partition device_events by hash of the device, or by list
-- where a school has a partition: create it by hand with the same columns and `partition by
-- hash (device)` before this script is run. The primary key begins with the device for that reason.
--
-- A server with `synchronous_commit = off` may forget after a crash what it has confirmed; devices
-- then say `at_least_once` in their status.

begin;

-- Two of these at once would trip over each other.
select pg_advisory_xact_lock(7020584511038);

-- Which version of this script made the tables. `instance` tells this database from another one
-- that the same address may lead to later.
create table if not exists edge_outbox_schema (
    only_row   boolean     primary key default true check (only_row),
    version    integer     not null,
    instance   uuid        not null default gen_random_uuid(),
    created_at timestamptz not null default now()
);

do $$
begin
    if exists (select from edge_outbox_schema where version <> 1) then
        raise exception 'these tables are of schema version %, and this script makes version 1',
            (select version from edge_outbox_schema)
            using hint = 'Run the script of the edge-outbox that is as new as the tables.';
    end if;
end
$$;

insert into edge_outbox_schema (version) values (1) on conflict do nothing;

-- What devices say, one row for each event. Nothing here is verified: a device's role may write what
-- it likes, and only the signature, checked with the device's public key, tells what is true.
-- docs/postgres.md says how an envelope is rebuilt from a row, byte for byte.
create table if not exists device_events (
    -- Whose event, in which chain, at which place.
    device         text        not null,
    epoch          uuid        not null,
    seq            bigint      not null,
    -- SHA-256 of the statement: the event's name in the chain.
    digest         bytea       not null,

    id             uuid        not null,
    -- The id that its producer gave it, where that is no UUID; else null.
    original_id    text,
    event_type     text        not null,
    event_version  integer     not null,
    source         text        not null,
    -- When it happened, as the program says; to the microsecond.
    occurred_at    timestamptz not null,

    -- What the device's clocks showed at the commit: the wall clock, whether it was set ('no', 'yes',
    -- 'unknown'), which boot, and microseconds since then.
    clock_wall     timestamptz not null,
    clock_sync     text        not null,
    boot_id        uuid        not null,
    boottime_us    bigint      not null,

    -- 'program', or 'ledger' for the outbox's own events about loss.
    kind           text        not null,

    -- The proof: digest of the seq before, digest of the personal part, id of the key, signature of
    -- the group, place in the group from 0, size of the group, and the siblings on the way from the
    -- leaf to the root, 32 bytes each, one after the other.
    prev           bytea       not null,
    private_digest bytea       not null,
    key_id         bytea       not null,
    signature      bytea       not null,
    leaf           smallint    not null,
    size           smallint    not null,
    path           bytea       not null,

    -- Whether the device knew that an earlier copy might have arrived.
    redelivered    boolean     not null,

    -- The personal part; all of it is null once it was erased. `subject_id` is empty where the event
    -- is about nobody. `payload` is exact; `payload_json` is for queries, and null where jsonb cannot
    -- hold the payload (\u0000, numbers beyond numeric, nesting too deep).
    aggregate_id   uuid,
    subject_id     text,
    salt           bytea,
    payload        bytea,
    payload_json   jsonb,

    received_at    timestamptz not null default now(),
    -- The order of arrival, with gaps.
    arrival        bigint      generated always as identity,

    -- An equal digest is a repeat and is not stored again. A different one is a second history of
    -- the same device (a cloned or rolled-back card, or a forgery) and is stored beside the first.
    primary key (device, epoch, seq, digest),
    check (num_nulls(aggregate_id, subject_id, salt, payload) in (0, 4))
);

create index if not exists device_events_arrival on device_events (arrival);

-- Places that are claimed by different events.
create or replace view device_event_conflicts as
select device, epoch, seq, digest, id, event_type, kind, key_id, received_at, arrival
from device_events as one
where exists (
    select
    from device_events as other
    where other.device = one.device
        and other.epoch = one.epoch
        and other.seq = one.seq
        and other.digest <> one.digest
);

commit;
