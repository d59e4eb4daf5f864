"""Figures about processes and sockets. They are published by circusd-stats."""
