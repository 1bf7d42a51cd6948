"""Hooks and strategies of mmengine's runner."""
