complete -c circus-plugin -l endpoint -d 'The endpoint of circusd' -r
complete -c circus-plugin -l pubsub -d 'Where circusd publishes its events' -r
complete -c circus-plugin -l config -d 'Options of the plugin: KEY:VALUE, joined by `:::`, or a file with them' -r
complete -c circus-plugin -l check-delay -d 'Seconds between circusd\'s looks at its watchers, 5 unless said otherwise' -r
complete -c circus-plugin -l log-level -d 'Least important messages to log: critical, error, warning, info or debug' -r
complete -c circus-plugin -l log-output -d 'Log file; - is stderr' -r
complete -c circus-plugin -l ssh -d 'Reach circusd through ssh; its endpoints are then those of that machine' -r
complete -c circus-plugin -l version -d 'Print the version'
complete -c circus-plugin -s h -l help -d 'Print help'
