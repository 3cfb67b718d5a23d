"""Modules that every part of socketd may import; they import no other part."""
