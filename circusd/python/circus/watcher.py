"""Watchers: a number of processes of one command."""
import time

from circus import _definition
from circus._remote import RemoteWatcher

# What holds when nothing is said.
_DEFAULTS = dict(
    args='', numprocesses=1, warmup_delay=0, working_dir=None, shell=False, shell_args=None, uid=None, gid=None,
    max_retry=5, send_hup=False, stop_signal=15, stop_children=False, env={}, graceful_timeout=30.0, rlimits=None,
    executable=None, stdout_stream=None, stderr_stream=None, priority=0, singleton=False, use_sockets=False,
    copy_env=False, copy_path=False, max_age=0, max_age_variance=30, hooks={}, respawn=True, autostart=True,
    on_demand=False, virtualenv=None, stdin_socket=None, close_child_stdin=True, close_child_stdout=False,
    close_child_stderr=False, virtualenv_py_ver=None, use_papa=False)


class Process(object):
    """A process of a watcher, as `stats` shows it."""

    def __init__(self, pid, info):
        self.pid = pid
        self.__dict__.update(info)

    def age(self):
        return time.time() - self.started


class Watcher(RemoteWatcher):
    """The definition of a watcher and, while its arbiter runs, the watcher.

    Takes the options of the configuration; those that nobody knows are kept for plugins and hooks.
    """

    def __init__(self, name, cmd, args=None, numprocesses=1, **options):
        definition = dict(options, name=name, cmd=cmd, args=args, numprocesses=numprocesses)
        self.__dict__.update(_definition=definition, _arbiter=None, name=name)
        # What is wrong is said where it was written.
        _definition.watcher(definition)

    @classmethod
    def load_from_config(cls, config):
        """A watcher of a dictionary of options."""
        return cls(**dict(config, name=_definition.name_of(config)))

    def __repr__(self):
        return '<circus.Watcher name=%s numprocesses=%s>' % (self.name, self._definition['numprocesses'])

    def __len__(self):
        return len(self.processes)

    def __bool__(self):
        return True

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        if self._is_live():
            options = self._command('options')['options']
            if name in options:
                return options[name]
        if self._definition.get(name) is not None:
            return self._definition[name]
        if name in _DEFAULTS:
            return _DEFAULTS[name]
        raise AttributeError('a watcher has no %s' % name)

    def __setattr__(self, name, value):
        self._definition[name] = value

    def _is_live(self):
        return self._arbiter is not None and self._arbiter.running

    def _command(self, command, **properties):
        if not self._is_live():
            raise RuntimeError('the arbiter of the watcher %s does not run' % self.name)
        return self._arbiter._command(command, name=self.name, **properties)

    def _begin(self, command, **properties):
        if not self._is_live():
            raise RuntimeError('the arbiter of the watcher %s does not run' % self.name)
        return self._arbiter._begin(command, name=self.name, **properties)

    def status(self):
        return self._command('status')['status'] if self._is_live() else 'stopped'

    @property
    def pids(self):
        return self._command('list')['pids'] if self._is_live() else []

    def get_active_pids(self):
        return self.pids

    @property
    def processes(self):
        """Processes by pid."""
        if not self._is_live():
            return {}
        return dict((pid, Process(pid, info)) for pid, info in self.info().items() if isinstance(info, dict))

    def get_active_processes(self):
        return list(self.processes.values())

    def options(self, *args):
        options = self._command('options')['options'] if self._is_live() else self._definition
        return sorted(options.items())
