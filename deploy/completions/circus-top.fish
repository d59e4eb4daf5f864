complete -c circus-top -l endpoint -d 'Where circusd-stats publishes [default: the configuration file, else tcp://127.0.0.1:5557]' -r
complete -c circus-top -l circusd -d 'Where circusd answers, for states, restarts and details [default: $CIRCUSCTL_ENDPOINT, else the configuration file, else tcp://127.0.0.1:5555]' -r
complete -c circus-top -l config -d 'The ini file of circusd to take the endpoints from [default: /etc/circus/circus.ini and the like]' -r -F
complete -c circus-top -l ssh -d 'Reach both through ssh; endpoints are then those of that machine' -r
complete -c circus-top -l ssh_keyfile -d 'The key for ssh' -r -F
complete -c circus-top -l process-timeout -d 'After so long without a message a process is not shown any more' -r
complete -c circus-top -l timeout -d 'Seconds to wait for data with --once and --json' -r
complete -c circus-top -l sort -d 'Order of the processes of a watcher' -r -f -a "cpu\t'CPU, the busiest first'
mem\t'Memory, the largest first'
age\t'Age, the oldest first'
pid\t'Pid, the lowest first'"
complete -c circus-top -l filter -d 'Show only what has this in the name of the watcher, the pid, the program or the address' -r
complete -c circus-top -l once -d 'Print the list once and end, after two rounds of messages'
complete -c circus-top -l json -d 'The same as JSON: the last message about each process, watcher and socket'
complete -c circus-top -l tree -d 'Show the children of processes'
complete -c circus-top -l all -d 'Show all processes of a watcher instead of the first ten'
complete -c circus-top -l version -d 'Print the version'
complete -c circus-top -s h -l help -d 'Print help (see more with \'--help\')'
