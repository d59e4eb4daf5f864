complete -c circusd-stats -l endpoint -d 'The endpoint of circusd' -r
complete -c circusd-stats -l pubsub -d 'Where circusd publishes its events' -r
complete -c circusd-stats -l statspoint -d 'Where to publish' -r
complete -c circusd-stats -l interval -d 'Seconds between two rounds of messages, at least 0.1' -r
complete -c circusd-stats -l ssh -d 'Reach circusd through ssh; its endpoints are then those of that machine' -r
complete -c circusd-stats -l log-level -d 'Least important messages to log: critical, error, warning, info or debug' -r
complete -c circusd-stats -l log-output -d 'Log file; - is stderr' -r
complete -c circusd-stats -l version -d 'Print the version'
complete -c circusd-stats -s h -l help -d 'Print help'
