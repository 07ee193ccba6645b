-- The table of unsent events that `edge-outbox relay` brings to the sinks. To be run by psql, by whoever
-- shall own it; run again, it changes nothing. A table of your own, under other names, does as well:
-- relay.toml says what they are. Then take from here what says that rows were added, and the grants.

create table if not exists event_outbox (
    id           uuid        primary key default gen_random_uuid(),
    aggregate_id uuid        not null,
    event_type   text        not null,
    payload      jsonb       not null,
    occurred_at  timestamptz not null default clock_timestamp(),
    version      integer,
    -- Set by the relay, once every required sink has confirmed the event. Rows of services begin without.
    sent_at      timestamptz
);

-- What is unsent, in the order in which it is taken: it stays small however large the table grows.
create index if not exists event_outbox_unsent on event_outbox (occurred_at, id) where sent_at is null;

-- Says that rows were added: once for each statement, and heard once for each transaction, when it
-- commits. Without it, the relay looks by itself every 30 s (`poll`). The channel is `channel` in
-- relay.toml.
create or replace function event_outbox_notify() returns trigger
    language plpgsql as $$
begin
    perform pg_notify('event_outbox', '');
    return null;
end
$$;

create or replace trigger event_outbox_notify
    after insert on event_outbox
    for each statement execute function event_outbox_notify();

-- All that a relay may do: read rows, and mark them. (`select … for update` asks for no more than the
-- right to update a column.) Grant this role to the user of each relay.
do $$
begin
    if not exists (select from pg_roles where rolname = 'edge_outbox_relay') then
        create role edge_outbox_relay nologin;
    end if;
end
$$;

grant select, update (sent_at) on event_outbox to edge_outbox_relay;
