# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_edge_outbox_hub_global_optspecs
    string join \n config= data-dir= h/help V/version
end

function __fish_edge_outbox_hub_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_edge_outbox_hub_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_edge_outbox_hub_using_subcommand
    set -l cmd (__fish_edge_outbox_hub_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -s V -l version -d 'Print version'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "run" -d 'Take events, keep them, bring them to the sinks, until SIGTERM'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "append" -d 'Append events, one JSON object a line: `event_type`, `aggregate_id`, `payload`; optional `id`, `event_version`, `subject_id`, `occurred_at`, `source`'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "status" -d 'Show the device, the journal and every sink'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "tail" -d 'Show the last events; piped, their envelopes, one JSON object a line'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "drain" -d 'Forward what is pending, then exit: 0 when every sink has everything, 1 when the time is up or there is no sink'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "export" -d 'Write events to a file, for somebody to carry to the hub: `edge-outbox hub import FILE` there'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "receipts" -d 'Take in receipts that somebody brought from the hub, so that the journal can let go of what the hub has'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "sinks" -d 'List the sinks, or forget one that is no longer configured'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "dead-letters" -d 'Look at the events that a sink rejected for good, send them again, or discard them'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "erase" -d 'Erase a person from the journal'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "verify" -d 'Verify the journal, or envelopes on standard input, one a line (CloudEvents in JSON, too)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "recover" -d 'Save what can be read of a damaged journal into a new one'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "identity" -d 'Show the device\'s name and public key; makes them where there are none yet'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "init" -d 'Write a configuration: by asking, or from flags where --sink is given'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "config" -d 'Check the configuration, show what is in force, or print the tables of a Postgres sink'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "doctor" -d 'Look at everything that has to be right, and say what to do about what is not'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "hub" -d 'The hub: verify what brokers carry, store it once in Postgres, tell devices what is safe'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "relay" -d 'Bring the rows of a table of unsent events to the sinks, and mark those that were confirmed, until SIGTERM'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand run" -l listen -d 'Address and port for HTTP, or `off`; port 0 picks a free one [also: EDGE_OUTBOX_LISTEN; default: 127.0.0.1:7411]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand run" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand run" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand run" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand append" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand append" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand append" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand status" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand status" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand status" -l json -d 'As JSON, like `GET /v1/status`'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand status" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand tail" -l from -d 'Begin with this event instead of the tenth from the end' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand tail" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand tail" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand tail" -s f -l follow -d 'Wait for further events'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand tail" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand drain" -l timeout -d 'How long to try, such as `500 ms`, `30s` or `10 min`' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand drain" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand drain" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand drain" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand export" -l from -d 'Begin with this event instead' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand export" -l sink -d 'Begin with the first event that this sink has not confirmed' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand export" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand export" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand export" -l force -d 'Overwrite the file'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand receipts" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand receipts" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand receipts" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand receipts" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and not __fish_seen_subcommand_from list forget help" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and not __fish_seen_subcommand_from list forget help" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and not __fish_seen_subcommand_from list forget help" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and not __fish_seen_subcommand_from list forget help" -f -a "list" -d 'Show every sink: those of the configuration, and those that only have a place left'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and not __fish_seen_subcommand_from list forget help" -f -a "forget" -d 'Take its place away from a sink that is no longer configured'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and not __fish_seen_subcommand_from list forget help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and __fish_seen_subcommand_from list" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and __fish_seen_subcommand_from list" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and __fish_seen_subcommand_from forget" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and __fish_seen_subcommand_from forget" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and __fish_seen_subcommand_from forget" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and __fish_seen_subcommand_from forget" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show every sink: those of the configuration, and those that only have a place left'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and __fish_seen_subcommand_from help" -f -a "forget" -d 'Take its place away from a sink that is no longer configured'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand sinks; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry discard help" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry discard help" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry discard help" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry discard help" -f -a "list" -d 'Show the dead letters of every sink, or of one'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry discard help" -f -a "show" -d 'Show a dead letter, with its event as it would be sent'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry discard help" -f -a "retry" -d 'Have dead letters sent again, marked as repeats, once what was in their way is mended'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry discard help" -f -a "discard" -d 'Take dead letters off the list for good; the loss ledger says which'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and not __fish_seen_subcommand_from list show retry discard help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l sink -d 'Those of this sink alone' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l all -d 'All of the sink\'s'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from retry" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l all -d 'All of the sink\'s'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from discard" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show the dead letters of every sink, or of one'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show a dead letter, with its event as it would be sent'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "retry" -d 'Have dead letters sent again, marked as repeats, once what was in their way is mended'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "discard" -d 'Take dead letters off the list for good; the loss ledger says which'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand dead-letters; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand erase" -l id -d 'The person: a UUID' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand erase" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand erase" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand erase" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand erase" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand verify" -l public-key -d 'Public key of a device whose envelopes are on standard input, in base64; `edge-outbox identity` shows it [may be given several times]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand verify" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand verify" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand verify" -l alone -d 'Check each envelope by itself only: they are a selection'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand recover" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand recover" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand recover" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand recover" -l anyway -d 'Make a new journal even where no damage is found'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand identity" -l qr-svg -d 'Writes the QR code to this file as SVG, to be printed; `-` is standard output' -r -F
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand identity" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand identity" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand identity" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand identity" -l qr -d 'As a QR code too, to be read from the screen'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand identity" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l device -d 'The device\'s name, unique in the fleet; left out, it is made from the signing key' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l sink -d 'Where events go; with it nothing else is asked for but a password' -r -f -a "nats\t'A NATS server with JetStream'
mqtt\t'An MQTT broker'
postgres\t'A Postgres database'
none\t'Nowhere yet: events are kept'"
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l url -d 'Where that is, without user and password: nats://, tls://, mqtt://, mqtts:// or postgres://' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l ca-file -d 'The authority of the other side\'s certificate, where the system does not know it' -r -F
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l credentials-file -d 'Who the device is to a NATS server: credentials as `nsc generate creds` writes them' -r -F
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l user -d 'Who the device is to the other side; a user of Postgres stands in the URL' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l password-file -d 'A file that holds the password, which the configuration will name' -r -F
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l password-env -d 'The environment variable that holds the password where the daemon runs' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l listen -d 'Serves HTTP on TCP besides the Unix socket, with a token that is made; `off` serves none' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l password-stdin -d 'Takes the password from the first line of standard input, and puts it into a file'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -l force -d 'Replaces a configuration; what it says of anything but the sinks is kept, unless a flag says otherwise'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and not __fish_seen_subcommand_from check show sql help" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and not __fish_seen_subcommand_from check show sql help" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and not __fish_seen_subcommand_from check show sql help" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and not __fish_seen_subcommand_from check show sql help" -f -a "check" -d 'Check everything that can be checked without a network, files with secrets included'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and not __fish_seen_subcommand_from check show sql help" -f -a "show" -d 'Show every key with its value and where that comes from, secrets masked'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and not __fish_seen_subcommand_from check show sql help" -f -a "sql" -d 'Print the script that makes the tables of a Postgres sink, of the hub, or of a relay, for psql'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and not __fish_seen_subcommand_from check show sql help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from check" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from show" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from sql" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from sql" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from sql" -l hub -d 'Those of the hub'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from sql" -l hub-inbox -d 'What has the tables of a Postgres sink tell a hub what is new in them'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from sql" -l relay -d 'The table of unsent events that a relay brings to the sinks'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from sql" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Check everything that can be checked without a network, files with secrets included'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show every key with its value and where that comes from, secrets masked'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "sql" -d 'Print the script that makes the tables of a Postgres sink, of the hub, or of a relay, for psql'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand doctor" -l sink -d 'Look at this sink alone' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand doctor" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand doctor" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand doctor" -l probe -d 'Send each sink of type nats or mqtt one message that is marked as a probe, to see whether it may be published; it is no event, and no stream stores it'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand doctor" -l json -d 'As JSON: an array of the findings'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -f -a "run" -d 'Bring what the sources have into the database, until SIGTERM'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -f -a "key" -d 'Make the hub\'s keys where they are missing, and show the one that devices pin'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -f -a "devices" -d 'Say which devices may speak, and by which keys'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -f -a "import" -d 'Take in files that devices without a network have exported'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -f -a "report" -d 'Show how complete the events of each device are'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -f -a "quarantine" -d 'Look at what was not taken, try it again, or drop it'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -f -a "erase" -d 'Erase a person: the personal part of every event that is theirs, whenever it arrives'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -f -a "new-life" -d 'After the database was restored from a copy: have devices send what the copy lacks'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -f -a "verify" -d 'Go through every stored event: signed, there once, in its chain, and none gone'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and not __fish_seen_subcommand_from run key devices import report quarantine erase new-life verify help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from run" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from run" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from key" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from key" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from key" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from devices" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from devices" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from devices" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from devices" -f -a "add" -d 'Register a device, or another key of one'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from devices" -f -a "import" -d 'Register many: one line for each, as `edge-outbox identity --json` prints it'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from devices" -f -a "list" -d 'Show every device with its keys'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from devices" -f -a "revoke" -d 'Take no more from a key, or nothing beyond a place'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from devices" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from import" -l receipts -d 'Write the receipts for these devices here, to be carried back; `-` is standard output' -r -F
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from import" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from import" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from import" -l force -d 'Overwrite that file'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from import" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from report" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from report" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from report" -l problems -d 'Only what there is something to say against'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from report" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from report" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from quarantine" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from quarantine" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from quarantine" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from quarantine" -f -a "list" -d 'Show what is in quarantine, the oldest first'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from quarantine" -f -a "show" -d 'Write a message to standard output, byte for byte as it came'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from quarantine" -f -a "retry" -d 'Take what can be taken now; running hubs do so every 15 s'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from quarantine" -f -a "drop" -d 'Remove messages for good; what was honest among them is a gap of its device'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from quarantine" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from erase" -l id -d 'The id of the person, or of the thing, as events name it' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from erase" -l note -d 'Why, for the audit; the id itself is not kept' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from erase" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from erase" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from erase" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from new-life" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from new-life" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from new-life" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from verify" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from verify" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from verify" -l json -d 'As JSON'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from help" -f -a "run" -d 'Bring what the sources have into the database, until SIGTERM'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from help" -f -a "key" -d 'Make the hub\'s keys where they are missing, and show the one that devices pin'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from help" -f -a "devices" -d 'Say which devices may speak, and by which keys'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from help" -f -a "import" -d 'Take in files that devices without a network have exported'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from help" -f -a "report" -d 'Show how complete the events of each device are'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from help" -f -a "quarantine" -d 'Look at what was not taken, try it again, or drop it'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from help" -f -a "erase" -d 'Erase a person: the personal part of every event that is theirs, whenever it arrives'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from help" -f -a "new-life" -d 'After the database was restored from a copy: have devices send what the copy lacks'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Go through every stored event: signed, there once, in its chain, and none gone'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand hub; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand relay" -l config -d 'Configuration file [also: EDGE_OUTBOX_CONFIG; default: /etc/edge-outbox/edge-outbox.toml where it exists]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand relay" -l data-dir -d 'Directory of journal and signing key [also: EDGE_OUTBOX_DATA_DIR, STATE_DIRECTORY; default: ./edge-outbox-data]' -r
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand relay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "run" -d 'Take events, keep them, bring them to the sinks, until SIGTERM'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "append" -d 'Append events, one JSON object a line: `event_type`, `aggregate_id`, `payload`; optional `id`, `event_version`, `subject_id`, `occurred_at`, `source`'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "status" -d 'Show the device, the journal and every sink'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "tail" -d 'Show the last events; piped, their envelopes, one JSON object a line'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "drain" -d 'Forward what is pending, then exit: 0 when every sink has everything, 1 when the time is up or there is no sink'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "export" -d 'Write events to a file, for somebody to carry to the hub: `edge-outbox hub import FILE` there'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "receipts" -d 'Take in receipts that somebody brought from the hub, so that the journal can let go of what the hub has'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "sinks" -d 'List the sinks, or forget one that is no longer configured'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "dead-letters" -d 'Look at the events that a sink rejected for good, send them again, or discard them'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "erase" -d 'Erase a person from the journal'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "verify" -d 'Verify the journal, or envelopes on standard input, one a line (CloudEvents in JSON, too)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "recover" -d 'Save what can be read of a damaged journal into a new one'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "identity" -d 'Show the device\'s name and public key; makes them where there are none yet'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "init" -d 'Write a configuration: by asking, or from flags where --sink is given'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "config" -d 'Check the configuration, show what is in force, or print the tables of a Postgres sink'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "doctor" -d 'Look at everything that has to be right, and say what to do about what is not'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "hub" -d 'The hub: verify what brokers carry, store it once in Postgres, tell devices what is safe'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "relay" -d 'Bring the rows of a table of unsent events to the sinks, and mark those that were confirmed, until SIGTERM'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and not __fish_seen_subcommand_from run append status tail drain export receipts sinks dead-letters erase verify recover identity init config doctor hub relay help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from sinks" -f -a "list" -d 'Show every sink: those of the configuration, and those that only have a place left'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from sinks" -f -a "forget" -d 'Take its place away from a sink that is no longer configured'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from dead-letters" -f -a "list" -d 'Show the dead letters of every sink, or of one'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from dead-letters" -f -a "show" -d 'Show a dead letter, with its event as it would be sent'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from dead-letters" -f -a "retry" -d 'Have dead letters sent again, marked as repeats, once what was in their way is mended'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from dead-letters" -f -a "discard" -d 'Take dead letters off the list for good; the loss ledger says which'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Check everything that can be checked without a network, files with secrets included'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "show" -d 'Show every key with its value and where that comes from, secrets masked'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "sql" -d 'Print the script that makes the tables of a Postgres sink, of the hub, or of a relay, for psql'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from hub" -f -a "run" -d 'Bring what the sources have into the database, until SIGTERM'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from hub" -f -a "key" -d 'Make the hub\'s keys where they are missing, and show the one that devices pin'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from hub" -f -a "devices" -d 'Say which devices may speak, and by which keys'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from hub" -f -a "import" -d 'Take in files that devices without a network have exported'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from hub" -f -a "report" -d 'Show how complete the events of each device are'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from hub" -f -a "quarantine" -d 'Look at what was not taken, try it again, or drop it'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from hub" -f -a "erase" -d 'Erase a person: the personal part of every event that is theirs, whenever it arrives'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from hub" -f -a "new-life" -d 'After the database was restored from a copy: have devices send what the copy lacks'
complete -c edge-outbox-hub -n "__fish_edge_outbox_hub_using_subcommand help; and __fish_seen_subcommand_from hub" -f -a "verify" -d 'Go through every stored event: signed, there once, in its chain, and none gone'
