"""What may a person, keepalived or a monitoring system ask? One module a command, imported when it is used."""
