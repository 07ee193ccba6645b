-- The tables of the hub, in a schema of their own: schema version 1, for Postgres 13 or newer.
--
--     edge-outbox config sql --hub | psql -v ON_ERROR_STOP=1 postgres://OWNER@HOST/DATABASE
--
-- Run it as the role that shall own the tables. It is one transaction and may be run again at any
-- time: what is there already stays as it is.
--
-- Three roles are made where they are missing, without a login: grant them to those that log in.
--
--     grant edge_outbox_hub_intake to HUB;          -- what the hub's processes need, and no more
--     grant edge_outbox_hub_operator to OPERATOR;   -- keys, revocation, quarantine, erasing
--     grant edge_outbox_hub_reader to ANALYST;      -- the views
--
-- An owner that may not create roles is told so, and the grants are left out: have the roles made,
-- and run the script again.
--
-- Events are partitioned by the month in which they arrived. The hub makes the partitions of the
-- coming months by itself; what would fall between two goes into the default one. A month that is
-- no longer wanted is dropped with its partition; its positions stay, so that nothing of it is
-- stored again.

begin;

-- Two of these at once would trip over each other.
select pg_advisory_xact_lock(7020584511039);

create schema if not exists edge_outbox_hub;
set local search_path to edge_outbox_hub;

-- A name for a life of this database: a UUID of version 7, that is milliseconds since 1970 and then
-- what is random. Devices believe the latest that they have heard of, so it is later than the one
-- before it even where a clock went back.
create or replace function next_life(before uuid) returns uuid
language sql volatile set search_path = pg_catalog, pg_temp as $$
    select (lpad(to_hex(greatest(
        floor(extract(epoch from clock_timestamp()) * 1000)::bigint,
        ('x0000' || left(translate(before::text, '-', ''), 12))::bit(64)::bigint + 1)), 12, '0')
        || '7' || right(translate(gen_random_uuid()::text, '-', ''), 19))::uuid
$$;

-- Which version of this script made the tables. `hub` names this database in receipts; whoever
-- restores the database from a copy gives it a new one (`edge-outbox hub new-life`). `erasure_key` is the digest of the key under
-- which `erased` holds its hashes: a hub with another does not start.
create table if not exists schema_version (
    only_row    boolean     primary key default true check (only_row),
    version     integer     not null,
    hub         uuid        not null default next_life(null),
    erasure_key bytea       check (octet_length(erasure_key) = 32),
    created_at  timestamptz not null default now()
);

do $$
begin
    if exists (select from schema_version where version <> 1) then
        raise exception 'the tables are of schema version %, and this script makes version 1',
            (select version from schema_version)
            using hint = 'Run the script of the edge-outbox that is as new as the tables.';
    end if;
end
$$;

insert into schema_version (version) values (1) on conflict do nothing;

-- Who may speak. A device is locked by its row while its epochs, gaps and tampering are worked on.
create table if not exists devices (
    device   text        primary key check (device ~ '^[A-Za-z0-9_-]{1,64}$'),
    added_by text        not null check (added_by in ('operator', 'first_use')),
    added_at timestamptz not null default now()
);

-- Which key speaks for whom. A key that handed over has a successor, one at most. One that was
-- revoked is good for `revoked_epoch` up to `revoked_seq` and for the `epochs_before` that one, and,
-- where these are null, for nothing.
create table if not exists device_keys (
    device        text        not null references devices,
    key_id        bytea       not null check (octet_length(key_id) = 32),
    public_key    bytea       not null check (octet_length(public_key) = 32),
    added_by      text        not null check (added_by in ('operator', 'first_use', 'rotation')),
    added_at      timestamptz not null default now(),
    -- The key that handed over to this one.
    predecessor   bytea       check (octet_length(predecessor) = 32),
    revoked_at    timestamptz,
    revoked_epoch uuid,
    revoked_seq   bigint,
    epochs_before uuid[]      not null default '{}',
    primary key (device, key_id),
    check (num_nulls(revoked_epoch, revoked_seq) in (0, 2)),
    check (revoked_at is not null or revoked_epoch is null)
);

create index if not exists device_keys_key_id on device_keys (key_id);
create unique index if not exists device_keys_successor on device_keys (device, predecessor)
    where predecessor is not null;

-- The chains. `first_seq` is null until the start of the epoch is held; `highest` is the highest seq
-- that is known of, and `held` the highest of an event.
create table if not exists epochs (
    device          text        not null,
    epoch           uuid        not null,
    -- The key whose epoch it is; null where the epoch is known of by its successor alone.
    key_id          bytea,
    first_seq       bigint,
    -- Why it began, as the device says.
    reason          text,
    previous_epoch  uuid,
    previous_seq    bigint,
    previous_digest bytea,
    highest         bigint      not null default 0,
    held            bigint      not null default 0,
    -- The chain is whole up to here, and this is the digest there: null at 0, and behind a gap that
    -- was declared without one.
    complete_to     bigint      not null default 0,
    complete_digest bytea,
    -- The last signed word of how far the device's journal goes.
    tail_seq        bigint,
    tail_digest     bytea,
    -- Whether the chain may go further than was walked.
    walk_due        boolean     not null default false,
    first_contact   timestamptz not null default now(),
    last_contact    timestamptz not null default now(),
    primary key (device, epoch)
);

create index if not exists epochs_walk_due on epochs (device) where walk_due;

-- What decides whether an event is stored: one row for each, whichever month it is in.
create table if not exists positions (
    device      text        not null,
    epoch       uuid        not null,
    seq         bigint      not null,
    digest      bytea       not null,
    prev        bytea       not null,
    received_at timestamptz not null default now(),
    primary key (device, epoch, seq, digest)
);

-- The events, each verified. The columns are those of `device_events` in config/postgres.sql, and
-- docs/postgres.md says how an envelope is rebuilt from them, byte for byte.
create table if not exists event_rows (
    device         text        not null,
    epoch          uuid        not null,
    seq            bigint      not null,
    digest         bytea       not null,
    id             uuid        not null,
    original_id    text,
    event_type     text        not null,
    event_version  integer     not null,
    source         text        not null,
    occurred_at    timestamptz not null,
    clock_wall     timestamptz not null,
    clock_sync     text        not null,
    boot_id        uuid        not null,
    boottime_us    bigint      not null,
    kind           text        not null,
    prev           bytea       not null,
    private_digest bytea       not null,
    key_id         bytea       not null,
    signature      bytea       not null,
    leaf           smallint    not null,
    size           smallint    not null,
    path           bytea       not null,
    redelivered    boolean     not null,
    -- The personal part; all of it is null once it was erased.
    aggregate_id   uuid,
    subject_id     text,
    salt           bytea,
    payload        bytea,
    payload_json   jsonb,
    -- What brought it.
    origin         text        not null,
    received_at    timestamptz not null default now(),
    primary key (device, epoch, seq, digest, received_at),
    check (num_nulls(aggregate_id, subject_id, salt, payload) in (0, 4))
) partition by range (received_at);

-- For erasing, and for whoever asks for all about one thing or person.
create index if not exists event_rows_aggregate on event_rows (aggregate_id);
create index if not exists event_rows_subject on event_rows (subject_id) where subject_id <> '';
-- A person's id that is a UUID is found however it is spelled.
create index if not exists event_rows_subject_lower on event_rows (lower(subject_id))
    where subject_id <> '';
create index if not exists event_rows_type on event_rows (event_type, received_at);

create table if not exists event_rows_default partition of event_rows default;

-- Makes the partitions of this month and so many after it, where they are missing. With the rights
-- of the owner: a hub may not make tables.
create or replace function make_partitions(months integer) returns integer
language plpgsql security definer set search_path = edge_outbox_hub, pg_temp as $$
declare
    month timestamptz;
    name  text;
    made  integer := 0;
begin
    perform pg_advisory_xact_lock(7020584511040);
    for ahead in 0..least(months, 24) loop
        month := date_trunc('month', now() at time zone 'UTC') at time zone 'UTC';
        month := (month at time zone 'UTC' + make_interval(months => ahead)) at time zone 'UTC';
        name := 'event_rows_' || to_char(month at time zone 'UTC', 'YYYY_MM');
        continue when to_regclass(quote_ident(name)) is not null;
        begin
            execute format(
                'create table %I partition of event_rows for values from (%L) to (%L)',
                name, month, (month at time zone 'UTC' + interval '1 month') at time zone 'UTC');
            made := made + 1;
        exception when check_violation then
            -- The default partition has rows of that month: they stay there.
            raise notice 'no partition %: the default one has rows of that month', name;
        end;
    end loop;
    return made;
end
$$;

revoke all on function make_partitions(integer) from public;

select make_partitions(3);

-- What is missing, and what the device says will never come: then `declared` says why.
create table if not exists gap_rows (
    device      text        not null,
    epoch       uuid        not null,
    first_seq   bigint      not null,
    last_seq    bigint      not null,
    opened_at   timestamptz not null default now(),
    declared    text,
    declared_at timestamptz,
    -- The digest of the last, where the device told it.
    last_digest bytea,
    primary key (device, epoch, first_seq),
    check (first_seq <= last_seq)
);

-- What ledger events say of seqs before them, for whenever it is known whose seqs they are.
create table if not exists declarations (
    device      text   not null,
    -- The ledger event.
    epoch       uuid   not null,
    seq         bigint not null,
    first_seq   bigint not null,
    last_seq    bigint not null,
    reason      text   not null,
    last_digest bytea,
    primary key (device, epoch, seq, first_seq, reason)
);

-- What devices have erased, by the digests that their ledgers name.
create table if not exists device_erasures (
    device text  not null,
    digest bytea not null,
    primary key (device, digest)
);

-- What the device's own signatures show to be wrong.
create table if not exists tampering (
    device   text        not null,
    epoch    uuid        not null,
    seq      bigint      not null,
    code     text        not null,
    digest   bytea       not null,
    found_at timestamptz not null default now(),
    primary key (device, epoch, seq, code, digest)
);

-- What was not taken, and why. The same message again is counted.
create table if not exists quarantine (
    id             bigint      generated always as identity primary key,
    message_digest bytea       not null unique,
    reason         text        not null,
    -- Where it is from, and what it says of itself, true or not; null where it cannot be read.
    origin         text        not null,
    device         text,
    epoch          uuid,
    seq            bigint,
    key_id         bytea,
    -- The key that is said to have signed for that one.
    predecessor    bytea,
    -- The event's digest, where it is proven.
    digest         bytea,
    -- Keyed hashes of the ids in it, so that they can be found when somebody is erased.
    persons        bytea[]     not null default '{}',
    message        bytea       not null,
    -- How long it was; more than is kept where it was cut.
    bytes          integer     not null,
    times          bigint      not null default 1,
    first_at       timestamptz not null default now(),
    last_at        timestamptz not null default now()
);

create index if not exists quarantine_key on quarantine (key_id) where key_id is not null;
create index if not exists quarantine_digest on quarantine (digest) where digest is not null;
create index if not exists quarantine_device on quarantine (device, epoch) where device is not null;

-- How much is kept for each reason, and how much was dropped for want of room.
create table if not exists quarantine_totals (
    reason  text   primary key,
    kept    bigint not null default 0,
    bytes   bigint not null default 0,
    dropped bigint not null default 0
);

-- Who was erased: keyed hashes of ids, for what arrives later.
create table if not exists erased (
    hash      bytea       primary key check (octet_length(hash) = 32),
    erased_at timestamptz not null default now()
);

-- Of two receipts the higher number counts.
create sequence if not exists receipt_generation maxvalue 9007199254740991;

-- What was done by hand or erased, and by whom.
create table if not exists audit (
    id     bigint      generated always as identity primary key,
    at     timestamptz not null default now(),
    actor  text        not null default session_user,
    action text        not null,
    device text,
    -- Events that it was about.
    events bigint,
    note   text
);

-- For people.

create or replace view events as
select device, epoch, seq, id, original_id, event_type, event_version, source, occurred_at,
    clock_wall, clock_sync, boot_id, boottime_us, kind, redelivered, aggregate_id, subject_id,
    payload_json, payload, payload is null as is_erased, origin, received_at, digest
from event_rows;

-- What is missing and not accounted for.
create or replace view gaps as
select device, epoch, first_seq, last_seq, last_seq - first_seq + 1 as events, opened_at,
    now() - opened_at as age
from gap_rows
where declared is null;

-- What will not come, as the device says.
create or replace view losses as
select device, epoch, first_seq, last_seq, last_seq - first_seq + 1 as events, declared as reason,
    opened_at, declared_at
from gap_rows
where declared is not null;

create or replace view device_health as
select d.device, e.epoch, e.first_seq, e.reason, e.last_contact, e.held, e.highest, e.complete_to,
    least(e.complete_to, t.first_seq - 1) as proven_to,
    e.first_seq is not null and e.complete_to = e.highest and t.first_seq is null as is_clean,
    coalesce(g.missing, 0) as missing, g.missing_since, coalesce(g.declared_lost, 0) as declared_lost,
    coalesce(t.codes, '{}') as tampering, d.added_by, d.added_at
from devices d
left join epochs e using (device)
left join lateral (
    select sum(last_seq - first_seq + 1) filter (where declared is null) as missing,
        min(opened_at) filter (where declared is null) as missing_since,
        sum(last_seq - first_seq + 1) filter (where declared is not null) as declared_lost
    from gap_rows
    where device = e.device and epoch = e.epoch
) g on true
left join lateral (
    select min(seq) as first_seq, array_agg(distinct code) as codes
    from tampering
    where device = e.device and epoch = e.epoch
) t on true;

-- Rights. No role may remove an event or a position, or change what is signed.

do $$
declare
    wanted text;
    absent text[] := '{}';
begin
    foreach wanted in array array['edge_outbox_hub_intake', 'edge_outbox_hub_operator',
        'edge_outbox_hub_reader']
    loop
        continue when exists (select from pg_roles where rolname = wanted);
        begin
            execute format('create role %I nologin', wanted);
        exception
            when insufficient_privilege then absent := absent || wanted;
            when duplicate_object then null;
        end;
    end loop;
    if absent <> '{}' then
        raise notice 'this role may not create roles: have % made, and run the script again',
            array_to_string(absent, ', ');
        return;
    end if;

    grant usage on schema edge_outbox_hub to edge_outbox_hub_intake, edge_outbox_hub_operator,
        edge_outbox_hub_reader;
    grant select on events, gaps, losses, device_health to edge_outbox_hub_reader;

    grant select on all tables in schema edge_outbox_hub
        to edge_outbox_hub_intake, edge_outbox_hub_operator;
    grant update (erasure_key) on schema_version to edge_outbox_hub_intake;
    grant insert on devices, device_keys, epochs, positions, event_rows, gap_rows, declarations,
        device_erasures, tampering, quarantine, quarantine_totals, erased, audit
        to edge_outbox_hub_intake;
    -- Of `devices` it changes nothing, but has to lock rows.
    grant update (added_by) on devices to edge_outbox_hub_intake;
    grant update on epochs, gap_rows, quarantine_totals to edge_outbox_hub_intake;
    grant delete on gap_rows, quarantine to edge_outbox_hub_intake;
    grant update (reason, times, last_at) on quarantine to edge_outbox_hub_intake;
    grant update (aggregate_id, subject_id, salt, payload, payload_json) on event_rows
        to edge_outbox_hub_intake, edge_outbox_hub_operator;
    grant execute on function make_partitions(integer) to edge_outbox_hub_intake;
    grant usage on sequence receipt_generation to edge_outbox_hub_intake;

    grant insert on devices, device_keys, erased, audit to edge_outbox_hub_operator;
    grant update (hub) on schema_version to edge_outbox_hub_operator;
    grant update (revoked_at, revoked_epoch, revoked_seq, epochs_before) on device_keys
        to edge_outbox_hub_operator;
    grant delete on quarantine to edge_outbox_hub_operator;
    grant update on quarantine_totals to edge_outbox_hub_operator;
end
$$;

commit;
