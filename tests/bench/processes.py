"""What several benchmarks do with processes: reading about them, and ending them."""
import subprocess


def read(path):
    """The text of a file, such as one of /proc; nothing if it is not there (any more)."""
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ''


def terminate(process):
    """Asks a process of ours to end, insists after half a minute, and waits for it."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
