"""Measurements that are shown, not asserted."""
