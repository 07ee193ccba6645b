-- Has the tables of a Postgres sink (config/postgres.sql) say what is new in them, for a hub that reads
-- them: version 1, for Postgres 13 or newer.
--
--     edge-outbox config sql --hub-inbox | psql -v ON_ERROR_STOP=1 postgres://OWNER@HOST/DATABASE
--
-- Run it as the owner of `device_events`, with the same search path as the script that made it. It is
-- one transaction and may be run again at any time; the first time, everything that the table holds is
-- new. Devices wait while it runs.
--
-- A hub may then do so much, and needs no right to change an event:
--
--     grant select on device_events to HUB;
--     grant select, update, delete on edge_outbox_inbox to HUB;
--
-- Where `device_events` has row-level security, a policy lets the hub see every row:
--
--     create policy all_rows_out on device_events for select to HUB using (true);
--
-- A list of what is new, and no place up to which all is read: transactions commit in another order
-- than they take their numbers, so whatever place a reader remembers, a row that becomes visible
-- later may lie before it. A row of the list becomes visible in the moment in which its event does,
-- and is removed by whoever has taken the event, once that is stored. Hubs that read side by side
-- pass over what another has in hand.

begin;

-- Two of these at once would trip over each other.
select pg_advisory_xact_lock(7020584511042);

do $$
declare
    home name;
begin
    if to_regclass('edge_outbox_inbox') is not null then
        return;
    end if;
    -- Whatever is stored before the trigger is there is in the list by the statement below.
    lock table device_events in share row exclusive mode;

    -- An event by its key: that is bounded and there once, whatever else a device's role writes.
    create table edge_outbox_inbox (
        id     bigint generated always as identity primary key,
        device text   not null,
        epoch  uuid   not null,
        seq    bigint not null,
        digest bytea  not null,
        -- How much of it is as long as its device likes.
        bytes  bigint not null
    );

    -- With the rights of the owner: a device may not write here.
    create function edge_outbox_note_arrivals() returns trigger
    language plpgsql security definer as $note$
    begin
        insert into edge_outbox_inbox (device, epoch, seq, digest, bytes)
        select device, epoch, seq, digest,
            octet_length(device) + octet_length(digest) + octet_length(event_type)::bigint
            + octet_length(source) + octet_length(clock_sync) + octet_length(kind)
            + octet_length(prev) + octet_length(private_digest) + octet_length(key_id)
            + octet_length(signature) + octet_length(path) + coalesce(octet_length(original_id), 0)
            + coalesce(octet_length(subject_id), 0) + coalesce(octet_length(salt), 0)
            + coalesce(octet_length(payload), 0)
        from added order by arrival;
        return null;
    end
    $note$;

    -- Lists once more what was stored since: for a hub whose database was restored from a copy.
    create function edge_outbox_list_since(since timestamptz) returns bigint
    language plpgsql as $list$
    declare
        listed bigint;
    begin
        insert into edge_outbox_inbox (device, epoch, seq, digest, bytes)
        select device, epoch, seq, digest,
            octet_length(device) + octet_length(digest) + octet_length(event_type)::bigint
            + octet_length(source) + octet_length(clock_sync) + octet_length(kind)
            + octet_length(prev) + octet_length(private_digest) + octet_length(key_id)
            + octet_length(signature) + octet_length(path) + coalesce(octet_length(original_id), 0)
            + coalesce(octet_length(subject_id), 0) + coalesce(octet_length(salt), 0)
            + coalesce(octet_length(payload), 0)
        from device_events where received_at >= since order by arrival;
        get diagnostics listed = row_count;
        return listed;
    end
    $list$;

    -- Where this script found the tables: a caller's search path must not lead the functions elsewhere.
    home := (select nspname from pg_class join pg_namespace n on n.oid = relnamespace
        where pg_class.oid = 'device_events'::regclass);
    execute format('alter function edge_outbox_note_arrivals() set search_path = %I, pg_temp', home);
    execute format('alter function edge_outbox_list_since(timestamptz) set search_path = %I, pg_temp',
        home);
    revoke all on function edge_outbox_note_arrivals() from public;
    revoke all on function edge_outbox_list_since(timestamptz) from public;

    create trigger edge_outbox_note_arrivals after insert on device_events
    referencing new table as added
    for each statement execute function edge_outbox_note_arrivals();

    perform edge_outbox_list_since('-infinity');
end
$$;

commit;
