"""Options of a task, written down once: fields that become flags, a configuration file, help and a JSON schema."""
