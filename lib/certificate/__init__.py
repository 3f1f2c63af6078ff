"""Certificates that an embedding keeps outputs, criticality and inertia."""

from lib.certificate.dense import certify
from lib.certificate.modules import certify_modules, module_gradient

__all__ = ["certify", "certify_modules", "module_gradient"]
