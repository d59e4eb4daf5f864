"""Prints a numbered line with the time, ten times a second."""

import itertools
import time

for number in itertools.count(1):
    print(number, time.strftime("%Y-%m-%dT%H:%M:%S%z"), flush=True)
    time.sleep(0.1)
