"""Commands: arguments, messages, exit codes."""
