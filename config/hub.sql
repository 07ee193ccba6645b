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

-- What clocks say of boots, for when events occurred whose clock was not set. Numbers are seqs, or
-- microseconds: those that end in `_us` since the boot began, the others since 1970, and they say when
-- it began. A boot has a row for each epoch that it reaches into.
create table if not exists boots (
    device         text    not null,
    boot_id        uuid    not null,
    epoch          uuid    not null,
    first_seq      bigint  not null,
    first_us       bigint  not null,
    last_seq       bigint  not null,
    last_us        bigint  not null,
    -- The first and the last event whose clock was set, and when the boot began by it. It says
    -- different things where it was set anew.
    set_first_seq  bigint,
    set_first_us   bigint,
    set_last_seq   bigint,
    set_last_us    bigint,
    set_earliest   bigint,
    set_latest     bigint,
    -- The event that arrived soonest after it was stored: no later than this can the boot have begun.
    arrived_us     bigint,
    arrived_latest bigint,
    -- Its time goes back: these are several boots, and nothing ties their events together.
    is_reused      boolean not null default false,
    primary key (device, boot_id, epoch)
);

create index if not exists boots_last on boots (device, epoch, last_seq);
create index if not exists boots_set_last on boots (device, epoch, set_last_seq)
    where set_last_seq is not null;
create index if not exists boots_set_first on boots (device, epoch, set_first_seq)
    where set_first_seq is not null;

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

-- What devices have erased, by the digests that their ledgers name, and the key that says so.
create table if not exists device_erasures (
    key_id bytea  not null,
    seq    bigint not null,
    digest bytea  not null,
    primary key (key_id, digest)
);

create index if not exists device_erasures_digest on device_erasures (digest);

-- Which key signed that which one comes after it, whether or not somebody has registered that one by
-- hand as well.
create table if not exists key_handovers (
    key_id      bytea not null,
    predecessor bytea not null,
    primary key (key_id, predecessor)
);

create index if not exists key_handovers_predecessor on key_handovers (predecessor);

-- A key and those that handed over to it, one after the other, under whatever names: what it says was
-- erased, it says of their events.
create or replace function line_of_key(key bytea) returns setof bytea
language sql stable rows 2 set search_path = edge_outbox_hub, pg_temp as $$
    with recursive line (key_id) as (
        select key
        union
        select h.predecessor from line join key_handovers h using (key_id)
    )
    select key_id from line
$$;

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

-- When an event occurred, `occurred_at_corrected`, is at most `occurred_at_uncertainty` away from the
-- truth. `occurred_at_found` says how it was found: by the device's `clock`, which was set; from when
-- that was `synced` in the same boot; by the `neighbours` in its chain; or by its `arrival`, after which
-- nothing can have occurred; or that a `program` gave it itself, of which no more is known than that it
-- was before it was stored. docs/design.md, "When it occurred", says why each step is right.
create or replace view events as
select t.device, t.epoch, t.seq, t.id, t.original_id, t.event_type, t.event_version, t.source,
    t.occurred_at, t.clock_wall, t.clock_sync, t.boot_id, t.boottime_us, t.kind, t.redelivered,
    t.aggregate_id, t.subject_id, t.payload_json, t.payload, t.payload is null as is_erased, t.origin,
    t.received_at, t.digest,
    timestamptz 'epoch' + o.at * interval '1 microsecond' as occurred_at_corrected,
    greatest(o.latest - o.at, o.at - o.earliest) * interval '1 microsecond'
        as occurred_at_uncertainty,
    o.found as occurred_at_found
from event_rows t
-- Behind an aggregate: who does not ask for these columns does not pay for them. Each step stands
-- behind a fence (`offset 0`), or the planner would write it out wherever it is used.
left join lateral (
    select min(case
            when e.is_own then w.at
            -- Likely read off the same clock in this boot, and so off by as much; the bounds do not say so.
            when e.wall - e.said between -1000000 and e.since
                then greatest(least(w.at - (e.wall - e.said), w.latest), h.earliest)
            when e.said between h.earliest and w.latest then e.said
            else w.latest end) as at,
        min(h.earliest) as earliest, min(w.latest) as latest,
        min(case when e.is_own then w.found else 'program' end) as found
    -- Everything in microseconds, since 1970 or since the boot began. `no_sooner`: 2025-01-01, before
    -- which there was no edge-outbox. `exact`: how far a clock that is set may be off. A database whose
    -- own clock was before that knew no arrival.
    from (
        select (extract(epoch from t.clock_wall) * 1000000)::bigint as wall,
            (extract(epoch from t.occurred_at) * 1000000)::bigint as said,
            t.occurred_at = t.clock_wall as is_own,
            (extract(epoch from case when t.received_at >= '2025-01-01 00:00Z' then t.received_at
                else now() end) * 1000000)::bigint as received,
            t.boottime_us as since,
            t.clock_sync = 'yes' and t.clock_wall >= '2025-01-01 00:00Z'
                and t.clock_wall <= t.received_at + interval '10 seconds' as is_set,
            1735689600000000 as no_sooner,
            8000000 as exact
        offset 0
    ) e
    -- Its boot. A clock that runs free is off by 200 millionths at most (1 / 5000): `slack`.
    left join lateral (
        select min(b.set_earliest) as set_earliest, max(b.set_latest) as set_latest,
            e.exact + case
                when e.since < min(b.set_first_us) then min(b.set_first_us) - e.since
                when e.since > max(b.set_last_us) then e.since - max(b.set_last_us)
                else least(e.since - min(b.set_first_us), max(b.set_last_us) - e.since)
            end / 5000 as slack,
            max(b.last_us) as last,
            min(b.arrived_latest + e.since + abs(e.since - b.arrived_us) / 5000) as arrived
        from boots b
        where b.device = t.device and b.boot_id = t.boot_id
        having not bool_or(b.is_reused)
    ) b on true
    -- It was stored on the device no later than it arrived, or another one of its boot did.
    cross join lateral (
        select least(e.received, b.arrived) as arrived,
            not e.is_set and b.set_earliest + e.since - b.slack <= least(e.received, b.arrived) + e.exact
                as is_synced
        offset 0
    ) k
    -- The boots before and after it in its chain whose clock was set: boots do not overlap. What such a
    -- one says in another epoch counts, too. Where there may be two chains, they say nothing.
    left join lateral (
        select (select q.set_earliest + p.set_last_us - e.exact
                + case when b.last is null then 0 else e.since - e.since / 5000 end
            from boots p
            cross join lateral (select min(q.set_earliest) as set_earliest
                from boots q where q.device = p.device and q.boot_id = p.boot_id) q
            where p.device = t.device and p.epoch = t.epoch and p.set_last_seq < t.seq
                and p.boot_id <> t.boot_id
            order by p.set_last_seq desc limit 1) as earliest,
            (select q.set_latest + e.exact + case
                when b.last is null or q.is_reused then p.set_first_us
                else p.set_first_us / 5000 - (b.last - e.since) + (b.last - e.since) / 5000 end
            from boots p
            cross join lateral (select max(q.set_latest) as set_latest, bool_or(q.is_reused) as is_reused
                from boots q where q.device = p.device and q.boot_id = p.boot_id) q
            where p.device = t.device and p.epoch = t.epoch and p.set_first_seq > t.seq
                and p.boot_id <> t.boot_id
            order by p.set_first_seq limit 1) as latest
        where not e.is_set and k.is_synced is not true and not exists (select from tampering x
            where x.device = t.device and x.epoch = t.epoch)
        offset 0
    ) n on true
    -- When it was stored on the device.
    cross join lateral (
        select case
                when e.is_set then least(b.set_earliest + e.since, e.wall) - e.exact
                when k.is_synced then b.set_earliest + e.since - b.slack
                when n.earliest <= least(k.arrived, n.latest) then greatest(n.earliest, e.no_sooner)
                else e.no_sooner
            end as earliest,
            least(k.arrived, case
                when e.is_set then greatest(b.set_latest + e.since, e.wall) + e.exact
                when k.is_synced then b.set_latest + e.since + b.slack
                when n.latest >= e.no_sooner then n.latest
            end) as latest,
            case
                when e.is_set then 'clock'
                when k.is_synced then 'synced'
                when n.latest between e.no_sooner and k.arrived then 'neighbours'
                else 'arrival'
            end as found
        offset 0
    ) s
    cross join lateral (
        select least(s.earliest, s.latest - e.exact) as earliest, s.latest, s.found, case
                when e.is_set then least(e.wall, s.latest)
                when k.is_synced then least((b.set_earliest + b.set_latest) / 2 + e.since, s.latest)
                when s.found = 'neighbours' and s.earliest > e.no_sooner
                    then (s.earliest + s.latest) / 2
                else s.latest
            end as at
        offset 0
    ) w
    -- A time that a program gave says no more than that it was before the event was stored.
    cross join lateral (
        select case when e.is_own then w.earliest else least(e.no_sooner, w.latest - e.exact) end
            as earliest
        offset 0
    ) h
) o on true;

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
    coalesce(t.codes, '{}') as tampering, d.added_by, d.added_at, c.clock_set
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
) t on true
left join lateral (
    select coalesce(set_last_seq = last_seq, false) as clock_set
    from boots
    where device = e.device and epoch = e.epoch and not exists (select from epochs later
        where later.device = e.device and later.previous_epoch = e.epoch)
    order by last_seq desc limit 1
) c on true;

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
    grant insert on devices, device_keys, epochs, positions, event_rows, boots, gap_rows, declarations,
        device_erasures, key_handovers, tampering, quarantine, quarantine_totals, erased, audit
        to edge_outbox_hub_intake;
    -- Of `devices` it changes nothing, but has to lock rows.
    grant update (added_by) on devices to edge_outbox_hub_intake;
    grant update on epochs, boots, gap_rows, quarantine_totals to edge_outbox_hub_intake;
    grant delete on gap_rows, quarantine to edge_outbox_hub_intake;
    grant update (reason, times, last_at, message, message_digest, bytes, persons) on quarantine
        to edge_outbox_hub_intake;
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
