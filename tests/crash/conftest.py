"""Crash tests use the same real processes as the service ring."""

from service.conftest import a_home, sandbox

__all__ = ["a_home", "sandbox"]
