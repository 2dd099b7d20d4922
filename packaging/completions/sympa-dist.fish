# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_sympa_dist_global_optspecs
    string join \n config= spool= log-level= log-format= h/help V/version
end

function __fish_sympa_dist_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_sympa_dist_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_sympa_dist_using_subcommand
    set -l cmd (__fish_sympa_dist_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -s V -l version -d 'Print version'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "run" -d 'Distributes what the spool holds, and goes on until it is told to stop'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "inject" -d 'Queues a message: prints its id on standard output'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "queue" -d 'Shows what waits, and how far it is'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "top" -d 'Shows levels, messages, workers and rates in a terminal, with keys to move messages; ? tells them'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "show" -d 'Shows one message, packet by packet'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "report" -d 'Tells what happened to messages, from the event log'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "check" -d 'Looks for damage in the spool; exit code 1 if there is any'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "requeue" -d 'Moves messages to another priority, also while they are being sent'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "reschedule" -d 'Gives messages another time, before which they are not sent'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "hold" -d 'Holds messages: not sent until they are released'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "release" -d 'Lets held messages go'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "cancel" -d 'Cancels messages: whoever has not got them doesn\'t'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "pause" -d 'Pauses a list, a priority, a relay, or everything, on all hosts, from the next boundary on'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "resume" -d 'Lets go on what was paused; exit code 1 if it was not'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "bad" -d 'Lists what was set aside in bad/ and why; shows one; puts one back'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "cluster" -d 'Shares the spool among hosts by way of a database; shows who works on what'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "demo" -d 'Shows it all at work in a temporary spool: no MTA, no database, no configuration'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "config" -d 'Checks or shows the configuration'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "completions" -d 'Prints the completion script of a shell'
complete -c sympa-dist -n "__fish_sympa_dist_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand run" -l relay -d 'Where mail is handed to: smtp://host[:port], smtps://…, lmtp://host:port, lmtp:///socket, sendmail:/path, maildir:DIR; several: the next is used when the ones before it are down [key: [[relay]] url]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand run" -l workers -d 'Threads, each with one connection [key: run.workers]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand run" -l recipients-per-transaction -d '[key: run.recipients_per_transaction]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand run" -l checkpoint-sync -d 'data: on disk before the next transaction; none: in the kernel [key: run.checkpoint_sync]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand run" -l on-uncertain -d 'resend: recipients of uncertain transactions may get the message twice; skip: they may not get it [key: run.on_uncertain]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand run" -l shutdown-grace -d 'How long answers to final dots are waited for after TERM [key: run.shutdown_grace]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand run" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand run" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand run" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand run" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand run" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l list -d 'The list\'s address, as in my-list@my.dom' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l message -d 'The message, with its header; - is standard input' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l recipients -d 'Who gets it, and in which reception mode: a file with an address a line, perhaps a TAB and a JSON object of fields behind it; - is standard input; may be given for several modes, and several times for one' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l priority -d '0 (first) to 9, or z (held until it is released) [keys: lists.….priority, inject.priority]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l packet-size -d 'Recipients a packet [keys: lists.….packet_size, inject.packet_size]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l packets -d 'Splits the recipients of each mode evenly into so many packets' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l sender -d 'The envelope sender; <> for none [key: lists.….sender; default: <list>-owner@<domain>]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l variant -d 'What recipients of that mode get instead of the message; modes other than mail, notice and txt need one' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l at -d 'Not to be sent before: unix seconds, RFC 3339, or +2h' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l not-after -d 'Too late behind that time: what is left then is held instead of sent [key: lists.….not_after]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l id -d 'The message\'s id, <list>@<domain>.<unix seconds>.<number> [default: the list, now, and a random number]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l skip-invalid -d 'Leaves lines out that are no recipients, and lists them; otherwise they are an error, and nothing is queued'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -l keep-order -d 'Sends to recipients in the order given; otherwise they are sorted by domain, so that one domain\'s share packets'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand inject" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l list -d 'Only this list\'s messages' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l priority -d 'Only messages at this priority' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l by -d 'With --ages: what has a row [default: priority]' -r -f -a "priority\t''
list\t''"
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l count -d 'With --ages: what is counted [default: recipients]' -r -f -a "recipients\t'Recipients that wait for their first or another try'
messages\t''"
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l sort -d 'In which order [default: most urgent first, then as they came; with --ages: most first]' -r -f -a "priority\t'Most urgent first, then as they came'
age\t'Oldest first'
arrival\t'Newest first'
left\t'Most recipients that nobody has tried to send to first'
deferred\t'Most deferred recipients first'
failed\t'Most failed recipients first'
list\t'By the list\'s address'
size\t'Biggest first'
state\t'By state'
stuck\t'Those that don\'t go on first'
rate\t'Fastest first'
time-left\t'Those that will be sent last first; where nothing moves, it is never'"
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l watch -d 'Again and again, every so many seconds [default: 2], until INT' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l json -d 'A JSON object a message and line, with postqueue -j\'s names where they fit'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l recipients -d 'With --json: the recipients that have no final outcome, too'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l relays -d 'The relays of the schedulers that run, instead of messages'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l pauses -d 'What is paused, instead of messages'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l ages -d 'How old what waits is: a row a priority, a column twice the minutes of the one before it'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -l reverse -d 'The other way round'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand queue" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand top" -l interval -d 'How often it looks' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand top" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand top" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand top" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand top" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand top" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand show" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand show" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand show" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand show" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand show" -l json -d 'One JSON object'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand show" -l failures -d 'Who failed for good, with the relay\'s answers'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand show" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand report" -l list -d 'A line for each message of this list' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand report" -l since -d 'A line for each message to which something happened from then on: 2h (ago), 2026-12-01, 2026-12-01T18:00, a time with its zone, or unix seconds' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand report" -l until -d 'The same, up to then' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand report" -l events -d 'An event log, with its predecessors; several: one a host [key: events.path]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand report" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand report" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand report" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand report" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand report" -l json -d 'A JSON object a message and line; for an ID with all its events'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand check" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand check" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand check" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand check" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand check" -l repair -d 'Mends what can be mended without losing anything'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand check" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand requeue" -l list -d 'All messages of this list' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand requeue" -l from -d 'All messages at this priority; with --list: those of the list there' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand requeue" -l to -d '0 (first) to 9, or z (held)' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand requeue" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand requeue" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand requeue" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand requeue" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand requeue" -l all -d 'All messages'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand requeue" -l dry-run -d 'Only say what would be moved'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand requeue" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand reschedule" -l list -d 'All messages of this list' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand reschedule" -l from -d 'All messages at this priority; with --list: those of the list there' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand reschedule" -l at -d 'Not to be sent before: unix seconds, 2026-12-01T18:00[Europe/Paris], RFC 3339, or +2h' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand reschedule" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand reschedule" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand reschedule" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand reschedule" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand reschedule" -l all -d 'All messages'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand reschedule" -l now -d 'To be sent at once'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand reschedule" -l dry-run -d 'Only say what would be changed'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand reschedule" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand hold" -l list -d 'All messages of this list' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand hold" -l from -d 'All messages at this priority; with --list: those of the list there' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand hold" -l reason -d 'For whoever looks at the queue next' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand hold" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand hold" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand hold" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand hold" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand hold" -l all -d 'All messages'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand hold" -l dry-run -d 'Only say what would be held'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand hold" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand release" -l list -d 'All messages of this list' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand release" -l from -d 'All messages at this priority; with --list: those of the list there' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand release" -l to -d 'Not back to where they were, but there' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand release" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand release" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand release" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand release" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand release" -l all -d 'All messages'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand release" -l dry-run -d 'Only say what would be released'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand release" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cancel" -l list -d 'All messages of this list' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cancel" -l from -d 'All messages at this priority; with --list: those of the list there' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cancel" -l reason -d 'For whoever finds the rest in bad/' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cancel" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cancel" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cancel" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cancel" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cancel" -l all -d 'All messages'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cancel" -l yes -d 'Don\'t ask'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cancel" -l purge -d 'Delete what is left, instead of keeping it in bad/'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cancel" -l dry-run -d 'Only say what would be cancelled'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cancel" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand pause" -l relay -d 'The relay of that URL, or of that name in the configuration' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand pause" -l list -d 'The messages of this list' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand pause" -l priority -d 'The messages at this priority' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand pause" -l for -d 'Ends by itself after that time: 30m, 2h, 1d [default: when it is resumed]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand pause" -l reason -d 'For whoever looks at the queue next' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand pause" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand pause" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand pause" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand pause" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand pause" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand resume" -l relay -d 'The relay of that URL, or of that name in the configuration' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand resume" -l list -d 'The messages of this list' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand resume" -l priority -d 'The messages at this priority' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand resume" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand resume" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand resume" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand resume" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand resume" -l all -d 'Whatever is paused'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand resume" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and not __fish_seen_subcommand_from list show retry help" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and not __fish_seen_subcommand_from list show retry help" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and not __fish_seen_subcommand_from list show retry help" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and not __fish_seen_subcommand_from list show retry help" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and not __fish_seen_subcommand_from list show retry help" -l json -d 'One JSON object a line'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and not __fish_seen_subcommand_from list show retry help" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and not __fish_seen_subcommand_from list show retry help" -f -a "list" -d 'Lists them (without a command as well)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and not __fish_seen_subcommand_from list show retry help" -f -a "show" -d 'Shows what is in one, and what keeps it from being put back'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and not __fish_seen_subcommand_from list show retry help" -f -a "retry" -d 'Puts them back into the queue, after checks; whoever has got the message doesn\'t get it again'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and not __fish_seen_subcommand_from list show retry help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from list" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from list" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from list" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from list" -l json -d 'One JSON object a line'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from show" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from show" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from show" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from show" -l json -d 'One JSON object'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from retry" -l to -d 'Not back to where they were, but there' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from retry" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from retry" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from retry" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from retry" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from retry" -l dry-run -d 'Only say what would be put back'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from retry" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from help" -f -a "list" -d 'Lists them (without a command as well)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from help" -f -a "show" -d 'Shows what is in one, and what keeps it from being put back'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from help" -f -a "retry" -d 'Puts them back into the queue, after checks; whoever has got the message doesn\'t get it again'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand bad; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and not __fish_seen_subcommand_from init status leave help" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and not __fish_seen_subcommand_from init status leave help" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and not __fish_seen_subcommand_from init status leave help" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and not __fish_seen_subcommand_from init status leave help" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and not __fish_seen_subcommand_from init status leave help" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and not __fish_seen_subcommand_from init status leave help" -f -a "init" -d 'Makes the tables in cluster.database, and marks the spool as shared through them; safe to run again'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and not __fish_seen_subcommand_from init status leave help" -f -a "status" -d 'Shows hosts, processes, and what each is sending'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and not __fish_seen_subcommand_from init status leave help" -f -a "leave" -d 'Makes the spool one machine\'s again; no scheduler may be running'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and not __fish_seen_subcommand_from init status leave help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from init" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from init" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from init" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from init" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from init" -l join -d 'The tables are this spool\'s, which has lost its mark'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from init" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from status" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from status" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from status" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from status" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from status" -l json -d 'One JSON object'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from leave" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from leave" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from leave" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from leave" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from leave" -l drop-tables -d 'Removes the tables, too'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from leave" -l force -d 'Though nobody knows whether schedulers run: the database is away, or some have died'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from leave" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from help" -f -a "init" -d 'Makes the tables in cluster.database, and marks the spool as shared through them; safe to run again'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from help" -f -a "status" -d 'Shows hosts, processes, and what each is sending'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from help" -f -a "leave" -d 'Makes the spool one machine\'s again; no scheduler may be running'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand cluster; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand demo" -l recipients -d 'Recipients of the big message' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand demo" -l workers -d 'Threads, each with one connection' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand demo" -l relay-delay -d 'How long the sink takes to answer each transaction, in milliseconds: as fast as loopback is, there would be nothing to see' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand demo" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand demo" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand demo" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand demo" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand demo" -l verbose -d 'Shows the log as well'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand demo" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and not __fish_seen_subcommand_from check show explain help" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and not __fish_seen_subcommand_from check show explain help" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and not __fish_seen_subcommand_from check show explain help" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and not __fish_seen_subcommand_from check show explain help" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and not __fish_seen_subcommand_from check show explain help" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and not __fish_seen_subcommand_from check show explain help" -f -a "check" -d 'Reads file, environment and flags, and the files that they name, and says all that is wrong (exit code 2)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and not __fish_seen_subcommand_from check show explain help" -f -a "show" -d 'Shows the settings in force as a configuration file, each with where it comes from'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and not __fish_seen_subcommand_from check show explain help" -f -a "explain" -d 'Shows what holds for a list, and which line says so'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and not __fish_seen_subcommand_from check show explain help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from check" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from check" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from check" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from show" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from show" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from show" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from explain" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from explain" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from explain" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from explain" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from explain" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Reads file, environment and flags, and the files that they name, and says all that is wrong (exit code 2)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "show" -d 'Shows the settings in force as a configuration file, each with where it comes from'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "explain" -d 'Shows what holds for a list, and which line says so'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand completions" -l config -d 'Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand completions" -l spool -d 'The spool\'s directory [key: spool; environment: SYMPA_DIST_SPOOL]' -r -F
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand completions" -l log-level -d 'error, warn, info, debug, trace, or a filter [key: log.level]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand completions" -l log-format -d 'auto, human, json or journald [key: log.format]' -r
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand completions" -s h -l help -d 'Print help'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "run" -d 'Distributes what the spool holds, and goes on until it is told to stop'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "inject" -d 'Queues a message: prints its id on standard output'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "queue" -d 'Shows what waits, and how far it is'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "top" -d 'Shows levels, messages, workers and rates in a terminal, with keys to move messages; ? tells them'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "show" -d 'Shows one message, packet by packet'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "report" -d 'Tells what happened to messages, from the event log'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "check" -d 'Looks for damage in the spool; exit code 1 if there is any'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "requeue" -d 'Moves messages to another priority, also while they are being sent'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "reschedule" -d 'Gives messages another time, before which they are not sent'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "hold" -d 'Holds messages: not sent until they are released'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "release" -d 'Lets held messages go'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "cancel" -d 'Cancels messages: whoever has not got them doesn\'t'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "pause" -d 'Pauses a list, a priority, a relay, or everything, on all hosts, from the next boundary on'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "resume" -d 'Lets go on what was paused; exit code 1 if it was not'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "bad" -d 'Lists what was set aside in bad/ and why; shows one; puts one back'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "cluster" -d 'Shares the spool among hosts by way of a database; shows who works on what'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "demo" -d 'Shows it all at work in a temporary spool: no MTA, no database, no configuration'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "config" -d 'Checks or shows the configuration'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "completions" -d 'Prints the completion script of a shell'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and not __fish_seen_subcommand_from run inject queue top show report check requeue reschedule hold release cancel pause resume bad cluster demo config completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and __fish_seen_subcommand_from bad" -f -a "list" -d 'Lists them (without a command as well)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and __fish_seen_subcommand_from bad" -f -a "show" -d 'Shows what is in one, and what keeps it from being put back'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and __fish_seen_subcommand_from bad" -f -a "retry" -d 'Puts them back into the queue, after checks; whoever has got the message doesn\'t get it again'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and __fish_seen_subcommand_from cluster" -f -a "init" -d 'Makes the tables in cluster.database, and marks the spool as shared through them; safe to run again'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and __fish_seen_subcommand_from cluster" -f -a "status" -d 'Shows hosts, processes, and what each is sending'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and __fish_seen_subcommand_from cluster" -f -a "leave" -d 'Makes the spool one machine\'s again; no scheduler may be running'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Reads file, environment and flags, and the files that they name, and says all that is wrong (exit code 2)'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "show" -d 'Shows the settings in force as a configuration file, each with where it comes from'
complete -c sympa-dist -n "__fish_sympa_dist_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "explain" -d 'Shows what holds for a list, and which line says so'
