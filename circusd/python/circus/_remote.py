# What can be asked of watchers and of circusd, for whoever has a way to ask: programs that have started a circusd,
# and the helper of hooks, which gets this text in front of its own. Any Python from 2.7 on; imports nothing.
#
# `_command` asks and gives the answer. `_begin` is for what takes its time: what it gives is for the caller.


class RemoteWatcher(object):
    """The methods of a watcher that is somewhere else. It has a `name`."""

    def _command(self, command, **properties):
        raise NotImplementedError()

    def _begin(self, command, **properties):
        raise NotImplementedError()

    def start(self, *args, **kwargs):
        return self._begin('start')

    def stop(self, *args, **kwargs):
        return self._begin('stop')

    def restart(self, *args, **kwargs):
        return self._begin('restart')

    def reload(self, graceful=True, sequential=False):
        return self._begin('reload', graceful=graceful, sequential=sequential)

    def incr(self, nb=1):
        return self._begin('incr', nb=nb)

    def decr(self, nb=1):
        return self._begin('decr', nb=nb)

    def set_numprocesses(self, np):
        return self._begin('set', options={'numprocesses': max(int(np), 0)})

    def set_opt(self, key, val):
        return self._begin('set', options={key: val})

    def do_action(self, num):
        if num == 1:
            return self.reload()

    def send_signal(self, pid, signum):
        self._command('signal', pid=int(pid), signum=int(signum))

    def send_signal_process(self, process, signum, recursive=False):
        self._command('signal', pid=process.pid, signum=int(signum), recursive=recursive)

    def send_signal_child(self, pid, child_id, signum):
        self._command('signal', pid=int(pid), childpid=int(child_id), signum=int(signum))

    def send_signal_children(self, pid, signum, recursive=False):
        self._command('signal', pid=int(pid), signum=int(signum), children=True, recursive=recursive)

    def kill_process(self, process, stop_signal=None, graceful_timeout=None):
        properties = {'pid': process.pid}
        if stop_signal is not None:
            properties['signum'] = int(stop_signal)
        if graceful_timeout is not None:
            properties['graceful_timeout'] = graceful_timeout
        return self._begin('kill', **properties)

    def info(self, extended=False):
        infos = self._command('stats')['info']
        return dict((int(pid), info) for pid, info in infos.items())

    def process_info(self, pid, extended=False):
        return self._command('stats', process=int(pid))['info']

    def is_stopped(self):
        return self.status() == 'stopped'

    def is_stopping(self):
        return self.status() == 'stopping'

    def is_starting(self):
        return self.status() == 'starting'

    def is_active(self):
        return self.status() == 'active'

    def reap_processes(self):
        """circusd collects its processes by itself."""

    reap_process = manage_processes = reap_processes


class RemoteArbiter(object):
    """The methods of a circusd that is somewhere else."""

    def _command(self, command, **properties):
        raise NotImplementedError()

    def _begin(self, command, **properties):
        raise NotImplementedError()

    def iter_watchers(self, reverse=True):
        watchers = [self.get_watcher(name) for name in self._command('list')['watchers']]
        return iter(sorted(watchers, key=lambda watcher: watcher.priority, reverse=reverse))

    @property
    def _watchers_names(self):
        return dict((watcher.name.lower(), watcher) for watcher in self.watchers)

    def get_socket(self, name):
        return self.sockets[name]

    def statuses(self):
        return self._command('status')['statuses']

    def numwatchers(self):
        return self._command('numwatchers')['numwatchers']

    def numprocesses(self):
        return self._command('numprocesses')['numprocesses']

    def start_watchers(self, *args, **kwargs):
        return self._begin('start')

    def stop_watchers(self, *args, **kwargs):
        return self._begin('stop')

    def restart(self, *args, **kwargs):
        return self._begin('restart')

    def reload(self, graceful=True, sequential=False):
        return self._begin('reload', graceful=graceful, sequential=sequential)

    def reload_from_config(self, *args, **kwargs):
        return self._begin('reloadconfig')

    def rm_watcher(self, name, nostop=False):
        return self._begin('rm', name=name, nostop=nostop)
