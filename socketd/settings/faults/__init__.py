"""Fault profiles, the sections C{[fault:NAME]}: how a service misbehaves on purpose."""
