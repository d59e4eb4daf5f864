"""The hooks of hooks.ini. A hook that returns nothing false lets its watcher go on."""


def may_spawn(watcher, arbiter, hook_name, **kwargs):
    print("%s of %s: %d processes so far" % (hook_name, watcher.name, len(watcher.processes)))
    return True


def has_spawned(watcher, arbiter, hook_name, pid=None, **kwargs):
    print("%s has pid %s" % (watcher.name, pid))
    return True
